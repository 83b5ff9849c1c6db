"""Reads what the pipeline wrote for each run of params.yaml."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli.config import Params, Run
from bpsta_cli.errors import RunError
from bpsta_cli.reporting import records
from bpsta_cli.rules import TWIN

MEASURED: tuple[records.Kind, ...] = ("energy", "latency")
"""What is measured after training of each run under `measured`, and read here."""


@dataclass(frozen=True)
class RunResults:
    """One run of the study and what was measured of it.

    Attributes:
        name: the run, "digits-bpsta-T8-s0".
        train: metrics.json.
        history: history.csv, a row an epoch.
        energy: energy of the run, as `bpsta energy --json` gives it; empty where it was not measured.
        latency: accuracy over time, as `bpsta latency --json` gives it; empty where it was not measured.
        recipe: the entry of params.yaml's datasets that it was trained with; it tells two structures on one data
            set apart.
        recorded: settings.json; empty where it is not there.
        evaluation: of a ReLU twin, as `bpsta eval --json` gives it; empty of others, and where it was not measured.
    """

    name: str
    train: dict[str, Any]
    history: pd.DataFrame
    energy: dict[str, Any]
    latency: dict[str, Any]
    recipe: str = ""
    recorded: dict[str, Any] = field(default_factory=dict)
    evaluation: dict[str, Any] = field(default_factory=dict)


@dataclass
class Collected:
    """What of the study is there, and what is not.

    Attributes:
        runs: the runs with results, in the order of params.yaml; those under `train_only` have no energy and
            no latency.
        missing: names of runs without results, "NAME (energy)" where a run is there and was not measured.
        asked: every run's name -> its data set.
    """

    runs: list[RunResults] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    asked: dict[str, str] = field(default_factory=dict)


def collect(results: Path, params: Params) -> Collected:
    """Read every run that `params` names from the folder `results`.

    Raises:
        RunError: not one run is there, or a file cannot be read.
    """
    found = Collected()
    for name, run in params.runs.items():
        found.asked[name] = run.dataset
        folder = results / "train" / name
        if not all((folder / file).is_file() for file in ("metrics.json", "history.csv")):
            found.missing.append(name)
            continue
        kinds = MEASURED if name in params.measured else ()
        measured = {kind: _read_if_there(results / kind / f"{name}.json", kind) for kind in kinds}
        train = _read_metrics(folder / "metrics.json", run)
        twin = train["method"] == TWIN
        found.runs.append(
            RunResults(
                name,
                train=train,
                history=records.read_history(folder / "history.csv"),
                energy=measured.get("energy", {}),
                latency=measured.get("latency", {}),
                recipe=run.recipe,
                recorded=_read_if_there(folder / "settings.json", "settings"),
                evaluation=_read_if_there(results / "eval" / f"{name}.json", "eval") if twin else {},
            )
        )
        found.missing += [f"{name} ({kind})" for kind, value in measured.items() if not value]
    if not found.runs:
        example = f", such as train/{found.missing[0]}/metrics.json" if found.missing else ""
        raise RunError(
            "nothing to report",
            expected=f"results of the study's runs in {results}{example}",
            got="none of them" if found.missing else "a params.yaml that names no runs",
            todo="Run dvc repro, or name the folder with --results.",
        )
    return found


def _read_if_there(file: Path, kind: records.Kind) -> dict[str, Any]:
    return records.read(file, kind) if os.path.lexists(file) else {}  # anything that is there must be readable


def _read_metrics(file: Path, run: Run) -> dict[str, Any]:
    """metrics.json, which must be of this run.

    Raises:
        RunError: it cannot be used, or is another run's.
    """
    found = records.read(file, "metrics")
    for key, wanted in (("dataset", run.dataset), ("T", run.T), ("seed", run.seed)):
        if found[key] != wanted:
            raise RunError(
                f"result of another run in {file}",
                expected=f"{key} {wanted}, as params.yaml says of {run.name}",
                got=str(found[key]),
                todo="Remove it and run dvc repro.",
            )
    return found
