"""The methods against a baseline, seed by seed, corrected for the number of comparisons."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.comparison import probability
from bpsta_cli.reporting.paired import Paired, holm, paired, verdict
from bpsta_cli.rules import TWIN

CELL = ["recipe", "dataset", "network", "norm", "epochs", "T", "part"]
"""What two runs have in common if their values are compared."""
MARGIN, RATE_MARGIN = 0.5, 5.0
"""Differences that do not matter: in points of accuracy, and in percent of the firing rate."""
_SHOWN = ("T", "method", "against", "seeds")
_OF_A_TEST = ("mean", "low", "high", "p", "detectable")


def seed_by_seed(
    runs: pd.DataFrame, baselines: Sequence[str], *, margin: float = MARGIN, rate_margin: float = RATE_MARGIN
) -> Table:
    """Each method's accuracy and firing rate against the baseline's of the same cell and seed.

    Accuracy: differences in points. Firing rate: each seed's own relative to the baseline's, in percent. The rows of
    each of the two are one family of tests. The ReLU twin is left out.

    Args:
        runs: as `run_table` gives them.
        baselines: methods; of a cell the first that has runs there is its baseline.
        margin: points of accuracy that do not matter.
        rate_margin: percent of the firing rate that do not matter.
    """
    spiking = runs[runs["rule"] != TWIN]
    rows = [row for _, cell in spiking.groupby(CELL, sort=False) for row in _compared(cell, baselines)]
    frame = judged(rows, [*CELL, "method", "against", "seeds"], margin, rate_margin)
    parts = " or ".join(dict.fromkeys(spiking["part"])) or "test"
    note = (
        "Means of differences, seed by seed, with intervals of 95 % (Student's t) and two-sided p values of the paired "
        "t-test, corrected by Holm's method over all rows of this table, accuracy and firing rate each for itself. "
        f"Accuracy: of the last epoch, on the {parts} part, in percentage points. Could be seen: the difference that "
        "this number of seeds and this spread find in 80 % of studies, at 5 %, uncorrected. "
        f"Within: the whole interval lies inside ± {margin:g} points, or ± {rate_margin:g} % of the firing rate."
    )
    text = ("data", "method", "against", "verdict", "verdict (rate)")
    shown = pd.DataFrame({"data": data_names(frame), **{key: frame[key].astype(str) for key in _SHOWN}})
    display = pd.concat([shown, differences(frame)], axis=1)
    return Table("comparison", "The methods, seed by seed", note, frame, display, text_columns=text)


def _compared(cell: pd.DataFrame, baselines: Sequence[str]) -> Iterable[dict[str, Any]]:
    """A row for each method of a cell but its baseline."""
    methods = list(dict.fromkeys(cell["method"]))
    baseline = next((name for name in baselines if name in methods), None)
    if baseline is None:
        return
    by_method = {method: cell[cell["method"] == method].set_index("seed") for method in methods}
    base = by_method[baseline]
    for method in methods:
        own = by_method[method]
        seeds = [seed for seed in sorted(own.index) if seed in base.index]
        if method == baseline or not seeds:
            continue
        one, other = own.loc[seeds], base.loc[seeds]
        points = 100 * (one["accuracy"] - other["accuracy"])
        percent = 100 * (one["firing_rate"].astype(float) / other["firing_rate"].astype(float) - 1)
        yield {
            **{key: cell[key].iloc[0] for key in CELL},
            "method": method,
            "against": baseline,
            "seeds": len(seeds),
            "accuracy": paired(points.tolist()),
            "firing_rate": paired(percent.tolist()),
        }


def judged(rows: list[dict[str, Any]], keys: list[str], margin: float, rate_margin: float) -> pd.DataFrame:
    """The rows with a column a value of their tests: accuracy and firing rate, each corrected for itself.

    Args:
        rows: `keys`, and under accuracy and firing_rate the differences as `paired` gives them.
        keys: the columns before those of the tests.
        margin: points of accuracy that do not matter.
        rate_margin: percent of the firing rate that do not matter.
    """
    accuracy, rate = _judged(rows, "accuracy", margin, "points"), _judged(rows, "firing_rate", rate_margin, "%")
    return pd.concat(
        [pd.DataFrame([{key: row[key] for key in keys} for row in rows], columns=keys), accuracy, rate], axis=1
    )


def _judged(rows: list[dict[str, Any]], name: str, margin: float, unit: str) -> pd.DataFrame:
    """The columns of one family of tests."""
    found: list[Paired] = [row[name] for row in rows]
    corrected = holm([each.p for each in found])
    made = [
        {f"{name}_{part}": getattr(each, part) for part in _OF_A_TEST}
        | {f"{name}_p_holm": p, f"{name}_verdict": verdict(each, p, margin, unit)}
        for each, p in zip(found, corrected, strict=True)
    ]
    return pd.DataFrame(made, columns=[f"{name}_{part}" for part in (*_OF_A_TEST, "p_holm", "verdict")])


def differences(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns of the tests for readers, every cell text; of a frame as `judged` gives it."""
    shown = pd.DataFrame(index=frame.index)
    for name, title, digits in (("accuracy", "accuracy, points", 2), ("firing_rate", "firing rate, %", 1)):
        mark = "" if name == "accuracy" else " (rate)"
        ends = zip(frame[f"{name}_mean"], frame[f"{name}_low"], frame[f"{name}_high"], strict=True)
        shown[title] = [interval(mean, low, high, digits) for mean, low, high in ends]
        shown[f"p, Holm{mark}"] = [probability(p) for p in frame[f"{name}_p_holm"]]
        if name == "accuracy":
            shown["could be seen"] = [_number(value, digits) for value in frame[f"{name}_detectable"]]
        shown[f"verdict{mark}"] = frame[f"{name}_verdict"]
    return shown


def data_names(frame: pd.DataFrame) -> pd.Series:
    """What a reader knows each row's data by: the recipe, with the norm where these differ."""
    names, norms = frame["recipe"].astype(str), frame["norm"].astype(str)
    return names + ", norm " + norms if norms.nunique() > 1 else names


def interval(mean: float, low: float, high: float, digits: int) -> str:
    """ "+0.50 (-0.10 to +1.10)"; the mean alone where there is no interval, a dash where there is no value."""
    if math.isnan(mean):
        return "-"
    text = f"{mean:+.{digits}f}"
    return text if math.isnan(low) else f"{text} ({low:+.{digits}f} to {high:+.{digits}f})"


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
