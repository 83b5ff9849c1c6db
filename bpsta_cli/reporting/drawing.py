"""What all figures share: panels, colours, bands over seeds, and files that are the same for the same results."""

import io
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting.collect import RunResults

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart; the line styles tell them apart in grey
STYLES: dict[str, tuple[str, Any]] = {
    "stbp": ("#0072B2", "--"),
    "bpsa": ("#E69F00", "-."),
    "bpsta": ("#D55E00", "-"),
    "ann": ("#555555", ":"),
}
OTHERS: tuple[tuple[str, Any], ...] = (
    ("#009E73", (0, (1, 1))),
    ("#56B4E9", (0, (5, 1))),
    ("#CC79A7", (0, (3, 1, 1, 1))),
    ("#000000", (0, (8, 2))),
)
"""For labels that are no method, in this order."""
RC_PARAMS: Any = {"font.size": 10, "svg.hashsalt": "bpsta", "svg.fonttype": "path"}
"""Matplotlib's parameters, with which every figure is drawn and saved."""
MARKERS = {"stbp": "s", "bpsa": "^", "bpsta": "o", "ann": "x"}
"""Markers of single points: the shapes tell the methods apart in grey."""
PANEL, WIDE = (3.3, 2.4), 4.2
"""Width and height of a panel, and the width of one that stands alone in its row, in inches.

So narrow that a column of panels is readable on a telephone, 400 pixels wide.
"""

METADATA: dict[str, dict[str, str | None]] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
"""What matplotlib would write into a file that is no part of the picture: neither the day nor its version."""
NAMED, HANDLE = 4, 6
"""So many names of a legend at most stand side by side over a panel; the mark before one takes so many letters."""
LETTERS, LETTERS_WIDE = 31, 50
"""So many letters fit into a line above a panel, and above one that stands alone in its row."""


@dataclass(frozen=True)
class Panel:
    """One pair of axes: its heading, and the function that draws into it."""

    title: str
    draw: "Callable[[Axes], None]"


def styles(labels: Iterable[str]) -> dict[str, tuple[str, Any]]:
    """Colour and dashes of each label: a method's own, or one of `OTHERS`."""
    distinct = list(dict.fromkeys(labels))
    others = [label for label in distinct if label not in STYLES]
    return {
        label: STYLES[label] if label in STYLES else OTHERS[others.index(label) % len(OTHERS)] for label in distinct
    }


def draw_panels(
    runs: list[RunResults],
    target: Path,
    draw: "Callable[[Axes, list[RunResults]], None]",
    labels: tuple[str, str],
    *,
    whole: bool = True,
) -> list[Path]:
    """One panel for each data set and T, one below the other, as PNG and SVG.

    Args:
        runs: the runs that are drawn.
        target: the files without their suffix.
        draw: puts a panel's runs into its axes.
        labels: of the two axes.
        whole: only whole numbers stand below.
    """
    from matplotlib.ticker import MaxNLocator

    panels = list(dict.fromkeys((run.train["dataset"], run.train["T"]) for run in runs))
    with new_figure(WIDE, 3.0 * len(panels)) as figure:
        axes = figure.subplots(len(panels), squeeze=False).flatten()
        for place, (dataset, T) in zip(axes, panels, strict=True):
            inside = [run for run in runs if (run.train["dataset"], run.train["T"]) == (dataset, T)]
            draw(place, inside)
            place.set_title(f"{dataset}, T = {T}")
            place.set_xlabel(labels[0])
            place.set_ylabel(labels[1])
            place.grid(visible=True, linewidth=0.4, alpha=0.6)
            place.xaxis.set_major_locator(MaxNLocator(integer=whole))
            place.legend(frameon=False, loc="lower right")
        return save_png_and_svg(figure, target)


def draw_sheet(
    panels: Sequence[Panel], target: Path, labels: tuple[str, str], columns: int = 1, *, whole: bool = True
) -> list[Path]:
    """Panels under one legend, one below the other or in rows, as PNG and SVG.

    Args:
        panels: what is drawn, row by row.
        target: the files without their suffix.
        labels: of the two axes, below the lowest panels and beside the leftmost.
        columns: panels in a row; a sheet of several is not readable on a telephone.
        whole: only whole numbers stand below.
    """
    from matplotlib.ticker import MaxNLocator

    rows = math.ceil(len(panels) / columns)
    width, letters = (WIDE, LETTERS_WIDE) if columns == 1 else (PANEL[0] * columns, LETTERS)
    fonts = {"font.size": 9 + columns, "axes.titlesize": 9 + columns}
    spines = {"axes.spines.top": False, "axes.spines.right": False}
    with new_figure(width, PANEL[1] * rows + 0.4, fonts | spines) as figure:
        places = figure.subplots(rows, columns, squeeze=False).flatten()
        named: dict[str, Any] = {}
        for number, (place, panel) in enumerate(zip_longest(places, panels)):
            if panel is None:  # the last row has fewer
                place.remove()
                continue
            panel.draw(place)
            fitted = [textwrap.fill(line, letters, break_on_hyphens=False) for line in panel.title.splitlines()]
            place.set_title("\n".join(fitted), loc="left")
            if number + columns >= len(panels):
                place.set_xlabel(labels[0])
            if number % columns == 0:
                place.set_ylabel(labels[1])
            place.grid(visible=True, linewidth=0.4, alpha=0.6)
            if whole:
                place.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
                named.setdefault(label, handle)
        beside = max(1, min(NAMED * columns, letters * columns // (HANDLE + max(map(len, named), default=0))))
        figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=beside, frameon=False)
        return save_png_and_svg(figure, target)


@contextmanager
def new_figure(width: float, height: float, rc_params: dict[str, Any] | None = None) -> "Iterator[Figure]":
    """An empty figure without a window; it must be drawn and saved inside the `with`, under the same parameters.

    Args:
        width: in inches.
        height: in inches.
        rc_params: more of matplotlib's parameters; they go before those of `RC_PARAMS`.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(RC_PARAMS | (rc_params or {})):
        figure = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def save_png_and_svg(figure: "Figure", target: Path) -> list[Path]:
    """Write a figure as PNG and as SVG; `target` is the files without their suffix."""
    return [save(figure, target.with_suffix(suffix)) for suffix in (".png", ".svg")]


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure, whole or not at all; the same bytes for the same figure."""
    buffer = io.BytesIO()
    kind = path.suffix[1:]
    figure.savefig(buffer, format=kind, dpi=150, metadata=METADATA[kind])
    with files.replacing(path) as file:
        file.write(buffer.getvalue())
    return path


def by_method(runs: list[RunResults]) -> dict[str, list[RunResults]]:
    """The runs of each method, in order of appearance."""
    methods = dict.fromkeys(run.train["method"] for run in runs)
    return {method: [run for run in runs if run.train["method"] == method] for method in methods}


def band(
    axes: "Axes", table: pd.DataFrame, label: str, style: tuple[str, Any], *, counted: bool = True, **line: Any
) -> None:
    """The mean over seeds (columns) as a line over the index, the range from worst to best seed as a band.

    Args:
        axes: where.
        table: a column a seed.
        label: the line's name.
        style: its colour and dashes.
        counted: the name says how many seeds.
        line: what else `Axes.plot` takes.
    """
    colour, dashes = style
    mean = table.mean(axis=1)
    label = f"{label} (n = {table.shape[1]})" if counted else label
    axes.plot(mean.index, mean, color=colour, linestyle=dashes, label=label, **line)
    if table.shape[1] > 1:
        axes.fill_between(table.index, table.min(axis=1), table.max(axis=1), color=colour, alpha=0.15, linewidth=0)
