"""The figures, as PNG and SVG: the same bytes for the same results."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting.collect import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by colour-blind readers; the line styles tell them apart in grey
STYLES = {
    "stbp": ("#0072B2", "--"),
    "bpsa": ("#E69F00", "-."),
    "bpsta": ("#D55E00", "-"),
    "ann": ("#555555", ":"),
}
OTHER = ("#009E73", (0, (1, 1)))


def write_figures(cells: list[Cell], folder: Path) -> list[Path]:
    """Draw every figure into `folder`; returns the files."""
    return [
        *_figure(cells, folder / "test-curves", _curves, ("epoch", "test accuracy, %")),
        *_figure(cells, folder / "accuracy-over-time", _over_time, ("time step t", "test accuracy, %")),
    ]


def _figure(
    cells: list[Cell],
    target: Path,
    draw: "Callable[[Axes, list[Cell]], None]",
    labels: tuple[str, str],
) -> list[Path]:
    """One panel for each data set and T, one line for each method."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = list(dict.fromkeys((cell.train["dataset"], cell.train["T"]) for cell in cells))
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    with mpl.rc_context({"font.size": 10, "svg.hashsalt": "bpsta", "svg.fonttype": "path"}):
        figure = Figure(figsize=(4.6 * columns + 0.4, 3.4 * rows), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False).flatten()
        for place, (dataset, T) in zip(axes, panels, strict=False):
            inside = [cell for cell in cells if (cell.train["dataset"], cell.train["T"]) == (dataset, T)]
            draw(place, inside)
            place.set_title(f"{dataset}, T = {T}")
            place.set_xlabel(labels[0])
            place.set_ylabel(labels[1])
            place.grid(visible=True, linewidth=0.4, alpha=0.6)
            place.xaxis.set_major_locator(MaxNLocator(integer=True))
            place.legend(frameon=False, loc="lower right")
        for unused in axes[len(panels) :]:
            unused.remove()
        return [_save(figure, target.with_suffix(suffix)) for suffix in (".png", ".svg")]


def _save(figure: "Figure", path: Path) -> Path:
    buffer = io.BytesIO()
    kind = path.suffix[1:]
    figure.savefig(buffer, format=kind, dpi=150, metadata={"Software": None} if kind == "png" else {"Date": None})
    with files.replacing(path) as file:
        file.write(buffer.getvalue())
    return path


def _curves(axes: "Axes", cells: list[Cell]) -> None:
    """Test accuracy of every epoch, and where the warm-up as the ReLU twin ends."""
    tables = {
        method: pd.concat([cell.history.set_index("epoch")["accuracy"].dropna() for cell in same], axis=1) * 100
        for method, same in _by_method(cells).items()
    }
    for method, table in tables.items():
        _band(axes, table.set_axis(table.index + 1), method)
    warmup = int((cells[0].history["phase"] == "twin").sum())
    if 0 < warmup < len(cells[0].history):
        axes.axvline(warmup + 0.5, color="#888888", linewidth=0.8, linestyle=":")
        ends = ("data", "axes fraction")
        axes.annotate("twin ", (warmup + 0.5, 0.94), xycoords=ends, ha="right", color="#555555")
        axes.annotate(" spikes", (warmup + 0.5, 0.94), xycoords=ends, ha="left", color="#555555")
    # what the curves end in, not how they begin, sets the scale
    worst = min(float(table.iloc[len(table) // 2 :].min().min()) for table in tables.values())
    axes.set_ylim(max(0.0, worst - 4), 100.5)


def _over_time(axes: "Axes", cells: list[Cell]) -> None:
    """Accuracy of the votes after t steps."""
    for method, same in _by_method(cells).items():
        lines = [pd.Series(cell.latency["accuracy_at"]).rename(cell.name) for cell in same]
        table = pd.concat(lines, axis=1) * 100
        _band(axes, table.set_axis(table.index.astype(int)), method)


def _by_method(cells: list[Cell]) -> dict[str, list[Cell]]:
    """The cells of each method, in order of appearance."""
    methods = dict.fromkeys(cell.train["method"] for cell in cells)
    return {method: [cell for cell in cells if cell.train["method"] == method] for method in methods}


def _band(axes: "Axes", table: pd.DataFrame, method: str) -> None:
    """The mean over seeds as a line, the range from worst to best seed as a band."""
    colour, dashes = STYLES.get(method, OTHER)
    mean = table.mean(axis=1)
    axes.plot(mean.index, mean, color=colour, linestyle=dashes, label=f"{method} (n = {table.shape[1]})")
    if table.shape[1] > 1:
        axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, linewidth=0)
