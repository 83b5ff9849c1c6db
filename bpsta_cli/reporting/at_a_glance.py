"""Methods at a glance: a row for each recipe and T, a column a method, marked where it is told apart."""

from collections.abc import Hashable, Sequence
from typing import Any

import pandas as pd

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.seed_by_seed import CELL, data_names
from bpsta_cli.reporting.tables import fewest_to_most, mean_sd

MARKS = {"higher": " ↑", "lower": " ↓"}
"""First word of a verdict -> what stands behind the figure; any other verdict has none."""


def at_a_glance(points: pd.DataFrame, comparison: pd.DataFrame, baselines: Sequence[str]) -> Table:
    """Mean accuracy and firing rate of each method, a row a cell.

    Args:
        points: as `front` gives them.
        comparison: the frame of `seed_by_seed` of the same runs.
        baselines: as `seed_by_seed` was given them.
    """
    verdicts = {_key(row): row for row in comparison.to_dict("records")}
    rows: list[dict[str, str]] = []
    for _, cell in points.assign(data=data_names(points)).groupby(CELL, sort=False):
        texts = {row["method"]: _text(row, verdicts.get(_key(row), {})) for row in cell.to_dict("records")}
        seeds = fewest_to_most(cell["seeds"])
        rows.append({"data": cell["data"].iloc[0], "T": str(cell["T"].iloc[0]), **texts, "seeds": seeds})
    columns = ["data", "T", *dict.fromkeys(points["method"]), "seeds"]
    display = pd.DataFrame(rows, columns=columns).fillna("-")
    part = " or ".join(dict.fromkeys(points["part"]))
    note = (
        f"Accuracy of the last epoch on the {part} part, %, mean ± standard deviation over seeds, and in brackets the "
        "firing rate, spikes a neuron and step. ↑ and ↓: higher or lower than "
        f"{', else '.join(baselines)} seed by seed, told apart after correction over all rows (comparison.md)."
    )
    return Table("methods", "The methods at a glance", note, points, display, ("data",))


def _key(row: dict[Hashable, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*CELL, "method"))


def _text(point: dict[Hashable, Any], verdict: dict[Hashable, Any]) -> str:
    """ "98.52 ± 0.08 (0.091 ↓)"."""
    accuracy = mean_sd(100 * point["accuracy_mean"], 100 * point["accuracy_sd"], 2)
    marks = [MARKS.get(str(verdict.get(f"{of}_verdict")).split(",")[0], "") for of in ("accuracy", "firing_rate")]
    return f"{accuracy}{marks[0]} ({point['firing_rate_mean']:.3f}{marks[1]})"
