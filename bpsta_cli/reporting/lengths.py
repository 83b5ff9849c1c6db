"""Runs of several rules, lengths and seeds gathered into one table: accuracy over the simulation length."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.tables import Table, mean_sd

CELL = {"dataset", "method", "T", "seed", "data.source"}
"""Settings that place a run in the table, or change no number; runs that differ in another get rows of their own."""
RULE = "rule."


def labels(runs: Sequence[tuple[str, RunSettings]]) -> list[str]:
    """The row of each run (its name, its settings): the method, and what sets the run apart beyond T and seed.

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
    flat = [_flat(settings.model_dump(mode="json")) for _, settings in runs]
    telling = [key for key in flat[0] if key not in CELL and not key.startswith(RULE) and _differ(flat, key)]
    found = []
    for own in flat:
        same = [other for other in flat if other["method"] == own["method"]]
        keys = telling + [key for key in own if key.startswith(RULE) and _differ(same, key)]
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


def _flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{before}{key}.") if isinstance(value, dict) else {f"{before}{key}": value}
    return flat


def _differ(rows: list[dict[str, Any]], key: str) -> bool:
    return any(row[key] != rows[0][key] for row in rows)


def cell(run: Path, label: str, settings: RunSettings, found: dict[str, Any]) -> Cell:
    """A run as figures and tables take it.

    Raises:
        RunError: the run has no history.csv that can be read.
    """
    file = run / "history.csv"
    try:
        history = pd.read_csv(file)
    except (OSError, ValueError) as refused:
        raise RunError(
            "no history of a run",
            expected=f"{file}, as bpsta train wrote it",
            got=str(refused),
            todo="Leave the run out, or train it again.",
        ) from None
    train = {"dataset": settings.dataset, "T": settings.T, "method": label, "seed": settings.seed}
    return Cell(str(run), train=train, history=history, energy={}, latency=found)


def table(runs: Sequence[tuple[str, RunSettings]], accuracies: Sequence[float]) -> Table:
    """Test accuracy by method and simulation length: mean, standard deviation (n - 1) and number of seeds.

    Every run counts at the T that it was trained with.

    Args:
        runs: name and settings of each.
        accuracies: of each, after all its steps.

    Raises:
        RunError: as `labels`.
    """
    rows = [
        {"dataset": settings.dataset, "method": label, "T": settings.T, "accuracy": accuracy}
        for (_, settings), label, accuracy in zip(runs, labels(runs), accuracies, strict=True)
    ]
    keys = ["dataset", "method", "T"]
    groups = pd.DataFrame(rows).groupby(keys, sort=False)["accuracy"]
    frame = pd.DataFrame(
        {"n": groups.size(), "accuracy_mean": groups.mean(), "accuracy_sd": groups.std()}
    ).reset_index()
    figures = zip(frame["accuracy_mean"] * 100, frame["accuracy_sd"] * 100, frame["n"], strict=True)
    places = zip(frame["method"], frame["T"], strict=True)
    cells = dict(zip(places, (f"{mean_sd(mean, sd, 2)} (n = {n})" for mean, sd, n in figures), strict=True))
    methods, lengths = frame["method"].unique(), sorted(frame["T"].unique())
    shown = pd.DataFrame(
        [
            {"dataset": frame["dataset"][0], "method": method}
            | {f"T = {T}": cells.get((method, T), "-") for T in lengths}
            for method in methods
        ]
    )
    note = "Test accuracy, %, of networks trained with T steps and run for as many; mean ± sd over n seeds."
    return Table("lengths", "Accuracy over the simulation length", note, frame, shown)
