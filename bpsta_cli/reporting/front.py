"""Accuracy against spikes: one point a method on each data set, and which of them no other one beats in both."""

from functools import partial
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bpsta_cli.reporting.drawing import MARKERS, Panel, draw_sheet, styles
from bpsta_cli.reporting.seed_by_seed import CELL
from bpsta_cli.reporting.tables import seeds_in_words
from bpsta_cli.rules import TWIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 3
"""Most panels in a row."""
MARGIN = 0.08
"""Free room around the marks, a part of the axis: none is cut where few seeds lie close together."""
VARIANTS = ("D", "v", "P", "X", "<", ">", "h", "*")
"""Markers of variants, hollow, in order of appearance."""
NO_BREAK = "\N{NO-BREAK SPACE}"
STATISTICS = {"mean": "mean", "sd": "std"}
"""End of a column's name -> what pandas calls it; the deviation divides by n - 1."""


def front(runs: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds for each method of a cell, and whether it is on the front there.

    A method is on the front of its cell where no other one is at least as accurate with at most as many spikes, and
    better in one of the two; means are compared. The ReLU twin has no spikes, and is left out.

    Args:
        runs: as `run_table` gives them.
    """
    spiking = runs[runs["rule"] != TWIN].astype({"firing_rate": float})
    keys = [*CELL, "method", "rule"]
    columns = {
        "seeds": ("seed", "size"),
        **{f"{name}_{of}": (name, kind) for name in ("accuracy", "firing_rate") for of, kind in STATISTICS.items()},
    }
    points = spiking.groupby(keys, sort=False).agg(**columns).reset_index()
    points["on_front"] = [_unbeaten(point, points) for _, point in points.iterrows()]
    return points


def _unbeaten(point: pd.Series, points: pd.DataFrame) -> bool:
    cell = points[(points[CELL] == point[CELL]).all(axis=1)]
    accuracy, rate = cell["accuracy_mean"], cell["firing_rate_mean"]
    no_worse = (accuracy >= point["accuracy_mean"]) & (rate <= point["firing_rate_mean"])
    better = (accuracy > point["accuracy_mean"]) | (rate < point["firing_rate_mean"])
    return not (no_worse & better).any()


def draw_front(points: pd.DataFrame, target: Path) -> list[Path]:
    """A panel for each cell, as PNG and SVG: a mark a method, its bars one standard deviation over seeds.

    Colours are of the rules; a variant has its rule's colour and a hollow mark of its own.

    Args:
        points: as `front` gives them.
        target: the files without their suffix.
    """
    cells = [cell for _, cell in points.groupby(CELL, sort=False)]
    norms = points["norm"].nunique() > 1
    looks = _looks(points)
    panels = [Panel(_title(cell, norms=norms), partial(_draw, cell, looks)) for cell in cells]
    part = " or ".join(dict.fromkeys(points["part"]))
    labels = ("firing rate", f"{part} accuracy, %")
    return draw_sheet(panels, target, labels, min(COLUMNS, len(panels)), whole=False)


def _title(cell: pd.DataFrame, *, norms: bool) -> str:
    first = cell.iloc[0]
    norm = f", norm {first['norm']}" if norms else ""
    seeds = seeds_in_words(cell["seeds"]).replace(" ", NO_BREAK)
    return f"{first['recipe']}, T = {first['T']}{norm}, {seeds}"


def _looks(points: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """How each method is marked, the same in every panel."""
    rule_of = dict(zip(points["method"], points["rule"], strict=True))
    chosen, looks, hollow = styles(rule_of.values()), {}, cycle(VARIANTS)
    for method, rule in rule_of.items():
        looks[method] = {"color": chosen[rule][0], "marker": MARKERS.get(rule, "o")}
        if method != rule:
            looks[method] |= {"marker": next(hollow), "markerfacecolor": "white"}
    return looks


def _draw(cell: pd.DataFrame, looks: dict[str, dict[str, Any]], axes: "Axes") -> None:
    for _, point in cell.iterrows():
        axes.errorbar(
            point["firing_rate_mean"],
            100 * point["accuracy_mean"],
            xerr=point["firing_rate_sd"],
            yerr=100 * point["accuracy_sd"],
            linestyle="none",
            linewidth=0.8,
            label=point["method"],
            **looks[point["method"]],
        )
    axes.margins(y=MARGIN)
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlim(0, axes.get_xlim()[1] * (1 + MARGIN))
