"""Runs of several rules, T and seeds gathered into one table: accuracy by the number of time steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.records import read_history
from bpsta_cli.reporting.tables import display_frame, keys_of, over_seeds

PLACE = {"dataset", "method", "T", "seed", "data.source"}
"""Settings that say where a run belongs in the table, or change no number; runs that differ in others get own rows."""
RULE = "rule."


def labels(runs: Sequence[tuple[str, RunSettings]]) -> list[str]:
    """The row of each run (its name, its settings): the method, and what distinguishes it beside T and seed.

    Raises:
        RunError: runs of different data sets, or two of the same settings and seed.
    """
    by_dataset = {settings.dataset: name for name, settings in runs}
    if len(by_dataset) > 1:
        raise RunError(
            "runs of different data sets",
            expected="runs of one data set, whose accuracies can stand side by side",
            got=", ".join(f"{dataset} ({name})" for dataset, name in by_dataset.items()),
            todo="Give each data set's runs in a call of their own.",
        )
    flat = [settings.flat() for _, settings in runs]
    distinguishing = [key for key in flat[0] if key not in PLACE and not key.startswith(RULE) and _differ(flat, key)]
    found = []
    for own in flat:
        same = [other for other in flat if other["method"] == own["method"]]
        keys = distinguishing + [key for key in own if key.startswith(RULE) and _differ(same, key)]
        marks = ", ".join(f"{key.rpartition('.')[2]} {own[key]}" for key in keys)
        found.append(f"{own['method']} ({marks})" if marks else str(own["method"]))
    _refuse_twins(runs, found)
    return found


def _refuse_twins(runs: Sequence[tuple[str, RunSettings]], found: list[str]) -> None:
    seen: dict[tuple[str, int, int], str] = {}
    for (name, settings), label in zip(runs, found, strict=True):
        place = (label, settings.T, settings.seed)
        if place in seen:
            raise RunError(
                "the same run twice",
                expected="runs that differ in method, T, seed or another setting",
                got=f"{seen[place]} and {name}, both {label} at T = {settings.T} with seed {settings.seed}",
                todo="Leave one of them out.",
            )
        seen[place] = name


def _differ(rows: list[dict[str, Any]], key: str) -> bool:
    return any(row[key] != rows[0][key] for row in rows)


def run_results(
    runs: Sequence[tuple[str, RunSettings]],
    results: Sequence[dict[str, Any]],
    histories: Sequence[pd.DataFrame] | None = None,
) -> list[RunResults]:
    """Runs and what was measured of them, for figures and tables; their method is the row's label.

    Args:
        runs: name and settings of each.
        results: of each, as `bpsta latency --json` gives it.
        histories: `history` of each, which only curves over epochs need.

    Raises:
        RunError: as `labels`.
    """
    epochs = histories or [pd.DataFrame()] * len(runs)
    return [
        RunResults(
            name,
            train={
                "dataset": settings.dataset,
                "T": settings.T,
                "method": label,
                "seed": settings.seed,
                "split": found.get("split"),
            },
            history=history,
            energy={},
            latency=found,
        )
        for (name, settings), label, found, history in zip(runs, labels(runs), results, epochs, strict=True)
    ]


def history(run: Path) -> pd.DataFrame:
    """A row an epoch, as training wrote it.

    Raises:
        RunError: there is none that can be read.
    """
    try:
        return read_history(run / "history.csv")
    except RunError as refused:
        raise RunError(
            "no history of a run",
            expected=f"{run / 'history.csv'}, as bpsta train wrote it ({refused.expected})",
            got=refused.got,
            todo="Leave the run out, or train it again.",
        ) from None


def accuracy_by_time_steps(runs: list[RunResults]) -> Table:
    """Test accuracy by method and number of time steps T: mean, standard deviation (n - 1) and number of seeds.

    Every run counts at the T that it was trained with, after all its steps.
    """
    frame = over_seeds({**keys_of(run), "accuracy": run.latency["accuracy_at"][str(run.train["T"])]} for run in runs)
    means = display_frame(frame, {"accuracy": ("accuracy", 100, 2)})["accuracy"]
    texts = means + " (n = " + frame["seeds"].astype(str) + ")"
    found = dict(zip(zip(frame["method"], frame["T"], strict=True), texts, strict=True))
    methods, steps = frame["method"].unique(), sorted(frame["T"].unique())
    display = pd.DataFrame(
        [
            {"dataset": frame["dataset"][0], "method": method}
            | {f"T = {T}": found.get((method, T), "-") for T in steps}
            for method in methods
        ]
    )
    note = "Test accuracy, %, of networks trained with T steps and run for T steps; mean ± sd over n seeds."
    return Table("time-steps", "Accuracy by the number of time steps T", note, frame, display)


def early_exit(runs: list[RunResults]) -> Table:
    """Mean steps and loss of early exit at the thresholds that were chosen for each tolerance."""
    rows, columns = [], dict[str, tuple[str, float, int]]()
    for run in runs:
        row = keys_of(run)
        for chosen in run.latency["early_exit"]["chosen"]:
            points = f"{100 * chosen['tolerance']:.1f}"
            row |= {f"steps_{points}": chosen["mean_steps"], f"loss_{points}": chosen["loss"]}
            columns[f"steps_{points}"] = (f"steps at {points} pp", 1, 2)
            columns[f"loss_{points}"] = (f"loss at {points} pp", 100, 2)
        rows.append(row)
    frame = over_seeds(rows)
    display = display_frame(frame, columns)
    display["seeds"] = frame["seeds"].astype(str)
    where = "; ".join(dict.fromkeys(run.latency["early_exit"]["chosen_on"] for run in runs))
    note = (
        "The fewest mean steps at which early exit loses no more than the given percentage points (pp) of the accuracy "
        f"after all steps. The threshold was chosen on {where}; steps and loss, in percentage points, are those of "
        "other test samples. Mean ± standard deviation over seeds."
    )
    return Table("early-exit", "Early exit: fewest steps that lose no more", note, frame, display)
