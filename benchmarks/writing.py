"""What was measured as CSV, Markdown and a figure."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from bpsta_cli import files
from bpsta_cli.reporting.drawing import new_figure, save_png_and_svg, styles

NAME = "benchmark"
KEYS = ["measure", "input", "T", "mib"]
RATIOS = {
    "of_twin": "of the twin",
    "of_convolutions": "of the convolutions",
    "of_floor": "of the floor",
    "over_bpsta": "of bpsta",
}
TITLES = {
    "step": "Training step",
    "memory": "Peak memory of training",
    "inference": "Inference",
    "neuron": "The neuron alone",
    "first-use": "First use",
    "profile": "Where a training step of bpsta goes",
}
NOTE = (
    "Each value is the median over rounds of the ratio within a round, with its quartiles; in a round every variant "
    "has one turn. benchmarks/README.md says what each table means."
)
MARKERS = "osD^vPX*<>h"


def write(folder: Path, frame: pd.DataFrame, texts: list[str], about: list[str]) -> list[Path]:
    """Write benchmark.csv, benchmark.md and, where steps or memory were measured, the figure; each whole or not at all.

    Args:
        folder: of the results.
        frame: the rows of all measures.
        texts: what stands above the tables: machine, versions, what was refused or absent.
        about: what stands beneath them.
    """
    frame = frame.dropna(axis="columns", how="all")
    files.write_text(folder / f"{NAME}.csv", frame.to_csv(index=False, float_format="%.6g"))
    parts = ["# Benchmark", *texts, *(table(title, own) for title, own in _tables(frame)), *about]
    files.write_text(folder / f"{NAME}.md", "\n\n".join(filter(None, parts)) + "\n")
    return [folder / f"{NAME}.csv", folder / f"{NAME}.md", *draw(frame, folder / NAME)]


def _tables(frame: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    keys = [key for key in KEYS if key in frame]
    groups = frame.groupby(keys, sort=False, dropna=False)
    return [(_title(own.iloc[0].dropna().to_dict()), own) for _, own in groups]


def _title(row: dict[Any, Any]) -> str:
    words = {"input": "{}", "T": "T = {:g}", "mib": "{:g} MiB", "rate": "firing rate {:.3f}"}
    return ", ".join([TITLES[row["measure"]], *(text.format(row[key]) for key, text in words.items() if key in row)])


def table(title: str, rows: pd.DataFrame) -> str:
    """One table as Markdown: a row a variant, ratios with their quartiles; values too where they are not times."""
    columns = {name: title for name, title in RATIOS.items() if name in rows and rows[name].notna().any()}
    unit = str(rows["unit"].iloc[0])
    own = [] if unit == "ms" else [unit]
    lines = [
        "| " + " | ".join(["variant", *own, *columns.values()]) + " |",
        "|---" + "|---:" * len([*own, *columns]) + "|",
    ]
    for _, row in rows.iterrows():
        values = [_value_text(row, "median", "q1", "q3")] if own else []
        values += [_value_text(row, name, f"{name}_q1", f"{name}_q3") for name in columns]
        lines.append("| " + " | ".join([str(row["variant"]), *values]) + " |")
    return "\n".join([f"## {title}", "", *lines])


def _value_text(row: pd.Series[Any], middle: str, low: str, high: str) -> str:
    if pd.isna(row[middle]):
        return "-"
    digits = 0 if row[middle] >= 100 else 2
    if low not in row or pd.isna(row[low]):
        return f"{row[middle]:.{digits}f}"
    return f"{row[middle]:.{digits}f} ({row[low]:.{digits}f} to {row[high]:.{digits}f})"


def with_memory_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with peak memory over the twin's and over bpsta's at the same T and input."""
    frame = frame.copy()
    for column, base in (("of_twin", "ann"), ("over_bpsta", "bpsta")):
        own = frame[frame["measure"] == "memory"]
        bases = own[own["variant"] == base].set_index(["input", "T"])["median"]
        for place, row in own.iterrows():
            if (row["input"], row["T"]) in bases.index:
                frame.loc[place, column] = row["median"] / bases[row["input"], row["T"]]
    return frame


def growth(frame: pd.DataFrame) -> str:
    """How a step's time grows with T, each variant beside its own at the fewest steps."""
    steps = frame[frame["measure"] == "step"]
    first = steps["T"].min() if len(steps) else None
    if first is None or steps["T"].nunique() < 2:
        return ""
    lines: list[str] = []
    for kind, own in steps.groupby("input", sort=False):
        times = own.pivot_table(index="variant", columns="T", values="median", sort=False)
        ratios = times.div(times[first], axis=0)
        lines += [f"## Growth with T, {kind}: time over that at T = {first:g}", ""]
        lines += [
            "| variant | " + " | ".join(f"T = {T:g}" for T in ratios) + " |",
            "|---" + "|---:" * ratios.shape[1] + "|",
        ]
        lines += [
            f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |" for name, row in ratios.iterrows()
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def draw(frame: pd.DataFrame, target: Path) -> list[Path]:
    """Step time over the twin's with its quartiles, and peak memory, over T; as PNG and SVG."""
    kinds: list[str] = list(frame["input"].dropna().unique()) if "input" in frame else []
    panels = [(measure, kind) for measure in ("step", "memory") for kind in kinds if len(_panel(frame, measure, kind))]
    if not panels:
        return []
    columns = min(2, len(panels))
    names = list(dict.fromkeys(name for panel in panels for name in _panel(frame, *panel)["variant"]))
    chosen, markers = styles(names), dict(zip(names, MARKERS, strict=False))
    with new_figure(4.2 * columns + 1.8, 3.6 * math.ceil(len(panels) / columns)) as figure:
        places = figure.subplots(math.ceil(len(panels) / columns), columns, squeeze=False).flatten()
        for unused in places[len(panels) :]:
            unused.remove()
        for axes, (measure, kind) in zip(places, panels, strict=False):
            for name, rows in _panel(frame, measure, kind).groupby("variant", sort=False):
                colour, dashes = chosen[str(name)]
                _line(
                    axes,
                    rows,
                    measure,
                    {"color": colour, "linestyle": dashes, "marker": markers[str(name)], "label": name},
                )
            _name_axes(axes, measure, kind, sorted(_panel(frame, measure, kind)["T"].unique()))
        handles, labels = places[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False)
        return save_png_and_svg(figure, target)


def _panel(frame: pd.DataFrame, measure: str, kind: str) -> pd.DataFrame:
    rows = frame[frame["measure"] == measure]
    if len(rows) == 0 or (measure == "step" and "of_twin" not in rows):
        return rows.iloc[:0]
    return rows[(rows["input"] == kind) & rows["of_twin" if measure == "step" else "median"].notna()]


def _line(axes: Axes, rows: pd.DataFrame, measure: str, style: dict[str, Any]) -> None:
    style = {**style, "markersize": 4, "linewidth": 1.2}
    if measure == "memory":
        axes.plot(rows["T"], rows["median"], **style)
        return
    errors = [rows["of_twin"] - rows["of_twin_q1"], rows["of_twin_q3"] - rows["of_twin"]]
    axes.errorbar(rows["T"], rows["of_twin"], yerr=errors, capsize=2, **style)


def _name_axes(axes: Axes, measure: str, kind: str, steps: list[float]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(steps, [f"{T:g}" for T in steps])
    axes.set_yscale("log" if measure == "memory" else "linear")
    if measure == "step":
        axes.set_ylim(bottom=0)
    axes.set_xlabel("time steps T")
    axes.set_ylabel("step time over the twin's" if measure == "step" else "peak memory of training, MiB")
    axes.set_title(f"{TITLES[measure]}, {kind} input", fontsize=10)
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
