"""The figures of the study, as PNG and SVG: the same bytes for the same results."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.drawing import band, by_method, figure, styles
from bpsta_cli.reporting.parts import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CURVES, OVER_TIME = ("epoch", "test accuracy, %"), ("time step t", "test accuracy, %")
"""What the axes show."""


def write_figures(cells: list[Cell], folder: Path) -> list[Figure]:
    """Draw every figure that the cells can fill into `folder`."""
    drawn = [
        Figure(
            "test-curves",
            "Test accuracy over epochs",
            "Mean over seeds; the band reaches from the worst to the best seed. Left of the dotted line the network is "
            "trained as the ReLU twin.",
            "Lines of test accuracy over epochs, one for each learning rule.",
            tuple(figure(cells, folder / "test-curves", curves, CURVES)),
        )
    ]
    if followed := [cell for cell in cells if cell.latency]:
        drawn.append(
            Figure(
                "accuracy-over-time",
                "Test accuracy over time steps",
                "Accuracy of the votes after the first t steps of one pass: mean over seeds; the band reaches from the "
                "worst to the best seed.",
                "Lines of test accuracy over time steps, one for each learning rule.",
                tuple(figure(followed, folder / "accuracy-over-time", over_time, OVER_TIME)),
            )
        )
    return drawn


def curves(axes: "Axes", cells: list[Cell]) -> None:
    """Test accuracy of every epoch, and where the warm-up as the ReLU twin ends."""
    tables = {
        method: pd.concat([cell.history.set_index("epoch")["accuracy"].dropna() for cell in same], axis=1) * 100
        for method, same in by_method(cells).items()
    }
    chosen = styles(tables)
    for method, table in tables.items():
        band(axes, table.set_axis(table.index + 1), method, chosen[method])
    warmup = int((cells[0].history["phase"] == "twin").sum())
    if 0 < warmup < len(cells[0].history):
        axes.axvline(warmup + 0.5, color="#888888", linewidth=0.8, linestyle=":")
        ends = ("data", "axes fraction")
        axes.annotate("twin ", (warmup + 0.5, 0.94), xycoords=ends, ha="right", color="#555555")
        axes.annotate(" spikes", (warmup + 0.5, 0.94), xycoords=ends, ha="left", color="#555555")
    # what the curves end in, not how they begin, sets the scale
    worst = min(float(table.iloc[len(table) // 2 :].min().min()) for table in tables.values())
    axes.set_ylim(max(0.0, worst - 4), 100.5)


def over_time(axes: "Axes", cells: list[Cell]) -> None:
    """Accuracy of the votes after t steps."""
    methods = by_method(cells)
    chosen = styles(methods)
    for method, same in methods.items():
        lines = [pd.Series(cell.latency["accuracy_at"]).rename(cell.name) for cell in same]
        table = pd.concat(lines, axis=1) * 100
        band(axes, table.set_axis(table.index.astype(int)), method, chosen[method])
