"""What `bpsta latency` draws and writes of several runs: curves over epochs and time, early exit, times."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.curves import CURVES, OVER_TIME, curves, over_time
from bpsta_cli.reporting.drawing import STYLES, by_method, figure, styles
from bpsta_cli.reporting.lengths import over_length
from bpsta_cli.reporting.parts import markdown
from bpsta_cli.rules import TWIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBJECTS = ("spiking", "twin", "early_exit")
"""What is timed (`evaluation.timing.measure_latency`)."""
EXIT = ("#009E73", "-")
EXIT_AXES = ("mean steps until the decision", "test accuracy, %")


def write_figures(cells: list[Cell], folder: Path) -> list[Path]:
    """Test curves, accuracy over time, accuracy over mean steps and, where timed, the times of single decisions.

    Each as PNG and SVG with a panel for each T.
    """
    written = [
        *figure(cells, folder / "test-curves", curves, CURVES),
        *figure(cells, folder / "accuracy-over-time", over_time, OVER_TIME),
        *figure(cells, folder / "early-exit", _early_exit, EXIT_AXES, whole=False),
    ]
    timed = [cell for cell in cells if "clock" in cell.latency]
    if timed:
        labels = ("time of one decision, ms", "share of decisions, %")
        written += figure(timed, folder / "decision-times", _decision_times, labels, whole=False)
    return written


def _early_exit(axes: "Axes", cells: list[Cell]) -> None:
    """Accuracy against mean steps, a point for each threshold; the full pass at the right end."""
    methods = by_method(cells)
    chosen = styles(methods)
    for method, same in methods.items():
        # over seeds at equal thresholds: both means move
        points = pd.concat([pd.DataFrame(_with_full(cell)) for cell in same]).groupby(level=0).mean()
        table = (points.set_index("mean_steps")[["accuracy"]] * 100).rename(columns={"accuracy": method})
        colour, dashes = chosen[method]
        axes.plot(table.index, table[method], color=colour, linestyle=dashes, label=f"{method} (n = {len(same)})")


def _with_full(cell: Cell) -> list[dict[str, Any]]:
    accuracy_at = cell.latency["accuracy_at"]
    rows = [{name: row[name] for name in ("mean_steps", "accuracy")} for row in cell.latency["early_exit"]["curve"]]
    return [*rows, {"mean_steps": float(len(accuracy_at)), "accuracy": accuracy_at[str(len(accuracy_at))]}]


def _decision_times(axes: "Axes", cells: list[Cell]) -> None:
    """The share of decisions that took no longer: one line for each method, the twin and early exit."""
    chosen = styles(by_method(cells))
    lines: dict[str, tuple[list[float], tuple[str, Any]]] = {}
    for cell in cells:
        timed = cell.latency["clock"]["decision"]
        for subject in SUBJECTS:
            method = cell.train["method"]
            name = {"spiking": method, "twin": TWIN, "early_exit": "early exit"}[subject]
            style = {"spiking": chosen[method], "twin": STYLES[TWIN], "early_exit": EXIT}[subject]
            if subject in timed:
                lines.setdefault(name, ([], style))[0].extend(timed[subject]["all_ms"])
    for name, (times, (colour, dashes)) in lines.items():
        ordered = np.sort(times)
        share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, share, where="post", color=colour, linestyle=dashes, label=name)
    axes.set_xlim(0, 1.1 * max(float(np.quantile(times, 0.99)) for times, _ in lines.values()))


def write_tables(cells: list[Cell], folder: Path) -> list[Path]:
    """The table over lengths (CSV, Markdown), and CSV of everything measured of each run."""
    table = over_length(cells)
    frames = {
        "lengths": table.frame,
        "accuracy-over-time": pd.DataFrame(_accuracy_rows(cells)),
        "early-exit": pd.DataFrame(_exit_rows(cells)),
        "early-exit-chosen": pd.DataFrame(_chosen_rows(cells)),
        "decision-times": pd.DataFrame(_time_rows(cells)),
    }
    written = [folder / f"{table.name}.md"]
    files.write_text(written[0], markdown(table))
    for name, frame in frames.items():
        if not frame.empty:
            written.append(folder / f"{name}.csv")
            files.write_text(written[-1], frame.to_csv(index=False))
    return written


def _accuracy_rows(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    """Accuracy after t of `steps` steps; `steps` is T but where the run was measured at other lengths."""
    for cell in cells:
        passes = [{"T": cell.train["T"], "accuracy_at": cell.latency["accuracy_at"]}]
        passes += [row for row in cell.latency.get("other_lengths", []) if row["T"] != cell.train["T"]]
        for row in passes:
            for t, accuracy in row["accuracy_at"].items():
                yield {**_whose(cell), "steps": row["T"], "t": int(t), "accuracy": accuracy}


def _exit_rows(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        for row in cell.latency["early_exit"]["curve"]:
            yield {**_whose(cell), **row}


def _chosen_rows(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        for row in cell.latency["early_exit"]["chosen"]:
            yield {**_whose(cell), "chosen_on": cell.latency["early_exit"]["chosen_on"], **row}


def _time_rows(cells: list[Cell]) -> Iterator[dict[str, Any]]:
    for cell in cells:
        timed = cell.latency.get("clock", {})
        for kind in ("decision", "throughput"):
            for subject in SUBJECTS:
                if subject in timed.get(kind, {}):
                    figures = {name: value for name, value in timed[kind][subject].items() if name != "all_ms"}
                    yield {
                        **_whose(cell),
                        "device": timed["device"],
                        "threads": timed["threads"],
                        "subject": subject,
                        "batch": timed[kind]["batch"],
                        "repeats": timed[kind]["repeats"],
                        **figures,
                        "spiking_over": timed[kind]["spiking_over"].get(subject),
                    }


def _whose(cell: Cell) -> dict[str, Any]:
    return {"run": cell.name, **cell.train}
