"""Reads what the pipeline wrote for each cell of the grid."""

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli.config import Params
from bpsta_cli.errors import RunError


@dataclass(frozen=True)
class Cell:
    """One run of the grid and what was measured of it.

    Attributes:
        name: the cell, "digits-bpsta-T8-s0".
        train: metrics.json.
        history: history.csv, a row an epoch.
        energy: energy of the run, as `bpsta energy --json` gives it; empty where it was not measured.
        latency: accuracy over time, as `bpsta latency --json` gives it; empty where it was not measured.
        settings: the entry of params.yaml's datasets that it was trained with: tells two structures on one data
            set apart.
        recorded: settings.json; empty where it is not there.
    """

    name: str
    train: dict[str, Any]
    history: pd.DataFrame
    energy: dict[str, Any]
    latency: dict[str, Any]
    settings: str = ""
    recorded: dict[str, Any] = field(default_factory=dict)


@dataclass
class Collected:
    """The cells that are there, and the names of those that are not, or of what was not measured of them.

    Attributes:
        cells: those that are there.
        missing: names of those that are not, "NAME (energy)" where one is there and was not measured.
        asked: every run's name -> its data set.
    """

    cells: list[Cell] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)


def cell_name(dataset: str, method: str, T: int, seed: int) -> str:
    """The name of a cell's run directory and files."""
    return f"{dataset}-{method}-T{T}-s{seed}"


def collect(results: Path, params: Params) -> Collected:
    """Read every cell of the grid from the folder `results`.

    Raises:
        RunError: not one cell is there, or a file cannot be read.
    """
    found, grid = Collected(), params.grid
    for dataset, method, T, seed in itertools.product(grid.dataset, grid.method, grid.T, grid.seed):
        name = cell_name(dataset, method, T, seed)
        found.asked[name] = dataset
        run = results / "train" / name
        if not all((run / file).is_file() for file in ("metrics.json", "history.csv")):
            found.missing.append(name)
            continue
        measured = {kind: results / kind / f"{name}.json" for kind in ("energy", "latency")}
        found.cells.append(
            Cell(
                name,
                train=_read(run / "metrics.json"),
                history=pd.read_csv(run / "history.csv"),
                settings=dataset,
                recorded=_read_if_there(run / "settings.json"),
                **{kind: _read_if_there(file) for kind, file in measured.items()},
            )
        )
        found.missing += [f"{name} ({kind})" for kind, file in measured.items() if not file.is_file()]
    if not found.cells:
        raise RunError(
            "nothing to report",
            expected=f"results of the grid's cells in {results}, such as train/{found.missing[0]}/metrics.json",
            got="none of them",
            todo="Run dvc repro, or name the folder with --results.",
        )
    return found


def _read_if_there(file: Path) -> dict[str, Any]:
    return _read(file) if file.is_file() else {}


def _read(file: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise RunError(
            "unreadable result", expected="JSON", got=f"{file}: {broken}", todo="Remove it and run dvc repro."
        ) from None
    return loaded
