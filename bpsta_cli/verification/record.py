"""A finished run as it is there: settings, result and measurements, with the weights or without."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpsta_cli import rules
from bpsta_cli.errors import RunError
from bpsta_cli.measurement import BY_DEFAULT
from bpsta_cli.reporting import results_provenance
from bpsta_cli.training.run_directory import RunDir, RunInfo


@dataclass(frozen=True)
class Record:
    """What is there of a finished run.

    Attributes:
        path: its directory.
        info: its settings, and what it was trained on.
        metrics: metrics.json.
        history: the text of history.csv.
        measurements: by kind ("eval", "energy", "latency"), where the pipeline measured it.
        provenance: of the process that made it; empty where that is not recorded.
    """

    path: Path
    info: RunInfo
    metrics: dict[str, Any]
    history: str
    measurements: dict[str, dict[str, Any]]
    provenance: dict[str, Any]

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.resolve().name


def read_record(path: Path) -> Record:
    """Read what is there of a run; no code is run on its behalf.

    The measurements of RESULTS/train/NAME are RESULTS/eval/NAME.json and so on. Its provenance is its own where it has
    one, else what RESULTS/provenance.json says.

    Raises:
        RunError: no run, one that is not finished, a file that cannot be read, or a rule that is not registered.
    """
    run = RunDir(path)
    info, metrics = run.info(), run.metrics()
    _check_rule(path, info.settings.method)
    where = path.resolve()
    results = where.parent.parent if where.parent.name == results_provenance.TRAIN else None
    measurements: dict[str, dict[str, Any]] = {}
    provenance = info.provenance or metrics.get("provenance", {})
    if results is not None:
        found = {kind: results / kind / f"{where.name}.json" for kind in BY_DEFAULT}
        measurements = {kind: _json(file) for kind, file in found.items() if file.is_file()}
        named = f"{results_provenance.TRAIN}/{where.name}"
        provenance = provenance or results_provenance.recorded(results).get(named, ("", {}))[1]
    return Record(path, info, metrics, _history(path), measurements, provenance)


def _check_rule(path: Path, method: str) -> None:
    """Refuse to run a rule file because a run names it."""
    if method != rules.TWIN and rules.known(method) is None:
        raise RunError(
            "a run of a learning rule that is not registered",
            expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or a rule file that you name",
            got=f"{path}, trained with {method}",
            todo="Read the rule's file first: it is code. Then name it with --trust-rule FILE.",
        )


def _history(path: Path) -> str:
    try:
        return (path / "history.csv").read_text(encoding="utf-8")
    except (OSError, ValueError) as broken:
        raise _unreadable(path / "history.csv", broken) from None


def _json(file: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as broken:
        raise _unreadable(file, broken) from None
    return loaded


def _unreadable(file: Path, broken: Exception) -> RunError:
    return RunError(
        "nothing to compare with",
        expected="the file that the run left",
        got=f"{file}: {broken}",
        todo="Restore it, or make it again.",
    )
