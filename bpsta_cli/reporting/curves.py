"""What stands in a panel: curves over epochs and over time steps."""

from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.drawing import band, by_method, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES, OVER_TIME = ("epoch", "test accuracy, %"), ("time step t", "test accuracy, %")
"""What the axes show."""


def curves(axes: "Axes", runs: list[RunResults]) -> None:
    """Test accuracy of every epoch, and where the warm-up as the ReLU twin ends."""
    tables = {
        method: pd.concat([run.history.set_index("epoch")["accuracy"].dropna() for run in same], axis=1) * 100
        for method, same in by_method(runs).items()
    }
    chosen = styles(tables)
    for method, table in tables.items():
        band(axes, table.set_axis(table.index + 1), method, chosen[method])
    warmup = int((runs[0].history["phase"] == "twin").sum())
    if 0 < warmup < len(runs[0].history):
        axes.axvline(warmup + 0.5, color="#888888", linewidth=0.8, linestyle=":")
        ends = ("data", "axes fraction")
        axes.annotate("twin ", (warmup + 0.5, 0.94), xycoords=ends, ha="right", color="#555555")
        axes.annotate(" spikes", (warmup + 0.5, 0.94), xycoords=ends, ha="left", color="#555555")
    # the second half of the curves sets the scale: their beginning would hide how they differ at the end
    worst = min(float(table.iloc[len(table) // 2 :].min().min()) for table in tables.values())
    axes.set_ylim(max(0.0, worst - 4), 100.5)


def over_time(axes: "Axes", runs: list[RunResults]) -> None:
    """Accuracy of the votes after t steps."""
    methods = by_method(runs)
    chosen = styles(methods)
    for method, same in methods.items():
        lines = [pd.Series(run.latency["accuracy_at"]).rename(run.name) for run in same]
        table = pd.concat(lines, axis=1) * 100
        band(axes, table.set_axis(table.index.astype(int)), method, chosen[method])
