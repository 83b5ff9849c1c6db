"""A finished run as it is there: settings, result and measurements, with the weights or without."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.measurement import BY_DEFAULT
from bpsta_cli.reading import UnreadableError, documents, text
from bpsta_cli.reporting import results_provenance
from bpsta_cli.training.rule_trust import rule_of
from bpsta_cli.training.run_directory import HISTORY, METRICS, WEIGHTS, RunDir, RunInfo
from bpsta_cli.verification import tolerance


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
        rule_file: the file of the user's own that was run for its learning rule, wherever that lies now.
        shown: what it is called where its directory has no name of its own; "" where it has.
    """

    path: Path
    info: RunInfo
    metrics: dict[str, Any]
    history: str
    measurements: dict[str, dict[str, Any]]
    provenance: dict[str, Any]
    rule_file: Path | None = None
    shown: str = ""

    @property
    def name(self) -> str:
        """The run's name."""
        return self.shown or self.path.resolve().name

    @property
    def settings(self) -> RunSettings:
        """Its settings as they are trained again: those of the run, with the rule's file by its path here."""
        settings = self.info.settings
        return settings.model_copy(update={"method": str(self.rule_file)}) if self.rule_file else settings


def read_record(path: str | Path, trusted: Iterable[str | Path] = (), *, shown: str = "") -> Record:
    """Read what is there of a run; no code is run on its behalf, unless the user named its rule's very file.

    The measurements of RESULTS/train/NAME are RESULTS/eval/NAME.json and so on. Its provenance is its own where it has
    one, else what RESULTS/provenance.json says.

    Args:
        path: the run's directory.
        trusted: files that may be run for a rule of the user's own, where they are the run's.
        shown: what the run is called; "" for its directory's name.

    Raises:
        RunError: no run, one that is not finished, a file that cannot be read, or a rule that may not be run.
        SettingsError: a trusted file is missing or unusable.
    """
    path = Path(path)
    run = RunDir(path)
    info, metrics = run.info(), run.metrics()
    rule = rule_of(info.settings.method, info.rule_sha256, path, list(map(Path, trusted)))
    history = history_of(path)
    _check_figures(path, metrics, history)
    if (path / WEIGHTS).is_file():
        run.weights()  # damaged ones are refused before hours of training
    where = path.resolve()
    results = where.parent.parent if where.parent.name == results_provenance.TRAIN else None
    measurements: dict[str, dict[str, Any]] = {}
    provenance = info.provenance or metrics.get("provenance", {})
    if results is not None:
        found = {kind: results / kind / f"{where.name}.json" for kind in BY_DEFAULT}
        measurements = {kind: _json(file) for kind, file in found.items() if file.is_file()}
        named = f"{results_provenance.TRAIN}/{where.name}"
        provenance = provenance or results_provenance.recorded(results).get(named, ("", {}))[1]
    rule_file = rules.file_of(rule) if rule else None
    return Record(path, info, metrics, history, measurements, provenance, rule_file, shown)


def history_of(path: Path) -> str:
    """The text of a run's history.csv.

    Raises:
        RunError: it cannot be read.
    """
    try:
        return text(path / HISTORY)
    except UnreadableError as broken:
        raise _unreadable(path / HISTORY, broken.got) from None


def _check_figures(path: Path, metrics: dict[str, Any], history: str) -> None:
    """Refuse records that could not be compared."""
    try:
        tolerance.figures(metrics, history)
    except (KeyError, IndexError, TypeError, ValueError) as broken:
        raise _unreadable(path / METRICS, f"with {HISTORY} no figures: {broken!r}") from None


def _json(file: Path) -> dict[str, Any]:
    try:
        return documents.json_object(file)
    except UnreadableError as broken:
        raise _unreadable(file, broken.got) from None


def _unreadable(file: Path, got: str) -> RunError:
    return RunError(
        "nothing to compare with",
        expected="the file that the run left",
        got=f"{file}: {got}",
        todo="Restore it, or make it again.",
    )
