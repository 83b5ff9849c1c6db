"""What `bpsta latency` draws and writes of several runs: curves over epochs and time, early exit, times."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting.artifacts import markdown
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.curves import CURVES, OVER_TIME, curves, over_time
from bpsta_cli.reporting.drawing import STYLES, by_method, draw_panels, styles
from bpsta_cli.reporting.time_steps import accuracy_by_time_steps
from bpsta_cli.rules import TWIN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUBJECTS = ("spiking", "twin", "early_exit")
"""What is timed (`bpsta_cli.evaluation.timing`)."""
EXIT = ("#009E73", "-")
EXIT_AXES = ("mean steps until the decision", "test accuracy, %")


def write_figures(runs: list[RunResults], folder: Path) -> list[Path]:
    """Test curves, accuracy over time, accuracy over mean steps and, where timed, the times of single decisions.

    Each as PNG and SVG with a panel for each T.
    """
    written = [
        *draw_panels(runs, folder / "test-curves", curves, CURVES),
        *draw_panels(runs, folder / "accuracy-over-time", over_time, OVER_TIME),
        *draw_panels(runs, folder / "early-exit", _early_exit, EXIT_AXES, whole=False),
    ]
    timed = [run for run in runs if "clock" in run.latency]
    if timed:
        labels = ("time of one decision, ms", "share of decisions, %")
        written += draw_panels(timed, folder / "decision-times", _decision_times, labels, whole=False)
    return written


def _early_exit(axes: "Axes", runs: list[RunResults]) -> None:
    """Accuracy over mean steps, a point for each threshold; all steps are at the right end."""
    methods = by_method(runs)
    chosen = styles(methods)
    for method, same in methods.items():
        # the mean over seeds at equal thresholds, of the steps and of the accuracy
        points = pd.concat([pd.DataFrame(_with_full(run)) for run in same]).groupby(level=0).mean()
        table = (points.set_index("mean_steps")[["accuracy"]] * 100).rename(columns={"accuracy": method})
        colour, dashes = chosen[method]
        axes.plot(table.index, table[method], color=colour, linestyle=dashes, label=f"{method} (n = {len(same)})")


def _with_full(run: RunResults) -> list[dict[str, Any]]:
    accuracy_at = run.latency["accuracy_at"]
    rows = [{name: row[name] for name in ("mean_steps", "accuracy")} for row in run.latency["early_exit"]["curve"]]
    return [*rows, {"mean_steps": float(len(accuracy_at)), "accuracy": accuracy_at[str(len(accuracy_at))]}]


def _decision_times(axes: "Axes", runs: list[RunResults]) -> None:
    """The share of decisions that took at most this time: a line for each method, for the twin and for early exit."""
    chosen = styles(by_method(runs))
    lines: dict[str, tuple[list[float], tuple[str, Any]]] = {}
    for run in runs:
        timed = run.latency["clock"]["decision"]
        for subject in SUBJECTS:
            method = run.train["method"]
            name = {"spiking": method, "twin": TWIN, "early_exit": "early exit"}[subject]
            style = {"spiking": chosen[method], "twin": STYLES[TWIN], "early_exit": EXIT}[subject]
            if subject in timed:
                lines.setdefault(name, ([], style))[0].extend(timed[subject]["all_ms"])
    for name, (times, (colour, dashes)) in lines.items():
        ordered = np.sort(times)
        share = 100 * np.arange(1, len(ordered) + 1) / len(ordered)
        axes.step(ordered, share, where="post", color=colour, linestyle=dashes, label=name)
    axes.set_xlim(0, 1.1 * max(float(np.quantile(times, 0.99)) for times, _ in lines.values()))


def write_tables(runs: list[RunResults], folder: Path) -> list[Path]:
    """The table by T (CSV, Markdown), and CSV of everything measured of each run."""
    table = accuracy_by_time_steps(runs)
    frames = {
        table.name: table.frame,
        "accuracy-over-time": pd.DataFrame(_accuracy_rows(runs)),
        "early-exit": pd.DataFrame(_exit_rows(runs)),
        "early-exit-chosen": pd.DataFrame(_chosen_rows(runs)),
        "decision-times": pd.DataFrame(_time_rows(runs)),
    }
    written = [folder / f"{table.name}.md"]
    files.write_text(written[0], markdown(table))
    for name, frame in frames.items():
        if not frame.empty:
            written.append(folder / f"{name}.csv")
            files.write_text(written[-1], frame.to_csv(index=False))
    return written


def _accuracy_rows(runs: list[RunResults]) -> Iterator[dict[str, Any]]:
    """Accuracy after t of `steps` steps; `steps` is T except where the run was measured at other T."""
    for run in runs:
        passes = [{"T": run.train["T"], "accuracy_at": run.latency["accuracy_at"]}]
        passes += [row for row in run.latency.get("other_time_steps", []) if row["T"] != run.train["T"]]
        for row in passes:
            for t, accuracy in row["accuracy_at"].items():
                yield {**_whose(run), "steps": row["T"], "t": int(t), "accuracy": accuracy}


def _exit_rows(runs: list[RunResults]) -> Iterator[dict[str, Any]]:
    for run in runs:
        for row in run.latency["early_exit"]["curve"]:
            yield {**_whose(run), **row}


def _chosen_rows(runs: list[RunResults]) -> Iterator[dict[str, Any]]:
    for run in runs:
        for row in run.latency["early_exit"]["chosen"]:
            yield {**_whose(run), "chosen_on": run.latency["early_exit"]["chosen_on"], **row}


def _time_rows(runs: list[RunResults]) -> Iterator[dict[str, Any]]:
    for run in runs:
        timed = run.latency.get("clock", {})
        for kind in ("decision", "throughput"):
            for subject in SUBJECTS:
                if subject in timed.get(kind, {}):
                    values = {name: value for name, value in timed[kind][subject].items() if name != "all_ms"}
                    yield {
                        **_whose(run),
                        "device": timed["device"],
                        "threads": timed["threads"],
                        "subject": subject,
                        "batch": timed[kind]["batch"],
                        "repeats": timed[kind]["repeats"],
                        **values,
                        "spiking_over": timed[kind]["spiking_over"].get(subject),
                    }


def _whose(run: RunResults) -> dict[str, Any]:
    return {"run": run.name, **run.train}
