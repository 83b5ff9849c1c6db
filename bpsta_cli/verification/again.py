"""Trains and measures a run again, and says whether it is the same bytes."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bpsta_cli import training
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.data.store import Store, store_with
from bpsta_cli.kernels.dispatch import choose
from bpsta_cli.measurement import BY_DEFAULT, Opened, described
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir
from bpsta_cli.verification import differences, promise, tolerance
from bpsta_cli.verification.differences import Difference
from bpsta_cli.verification.record import Record, history_of

OnStep = Callable[[int, int], None]


@dataclass(frozen=True)
class Verdict:
    """What came of a run that was made again.

    Attributes:
        record: the run that was there.
        compared: what was compared.
        differences: what of it is not the same bytes.
        unpromised: why equal bytes are not promised; empty where they are.
        too_far: figures that are further off than another order of sums explains, with their distance.
        changed: what of the provenance is another, "name: before -> now".
        trained: whether the run was made again; False where its data are others.
    """

    record: Record
    compared: list[str]
    differences: list[Difference]
    unpromised: str = ""
    too_far: dict[str, float] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    trained: bool = True

    @property
    def same_bytes(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    @property
    def holds(self) -> bool:
        """Whether the run came out as promised: the same bytes, or close enough where they are not promised."""
        return self.same_bytes or (bool(self.unpromised) and not self.too_far)


def store_of(record: Record, data_dir: str | Path, progress: Callable[[int, int, str], None] | None = None) -> Store:
    """The data that the run was trained on, or what its settings give now where those are not there.

    Raises:
        DataError: the data cannot be prepared.
    """
    settings = record.info.settings
    ready = store_with(data_dir, settings.dataset, record.info.data_hash)
    return ready or prepared_store(settings.dataset, settings.data, T=settings.T, data_dir=data_dir, progress=progress)


def verify(
    record: Record, store: Store, *, device: torch.device | str, data_dir: str | Path, on_step: OnStep | None = None
) -> Verdict:
    """Train and measure the run again in a temporary folder, and compare.

    Weights are compared where they are there, else their hash; history, metrics and measurements as they are there.

    Args:
        record: the run.
        store: its data (`store_of`); with others nothing is trained, and they are the difference.
        device: where to compute.
        data_dir: folder of raw and prepared data.
        on_step: called after every step of training with how many are done, and of how many.

    Raises:
        BpstaError: what training raises.
    """
    device, data_dir = torch.device(device), Path(data_dir)
    if store.content_hash != record.info.data_hash:
        detail = f"trained on {record.info.data_hash[:12]}, the settings now give {store.content_hash[:12]}"
        return Verdict(record, ["data"], [Difference("data", detail)], trained=False)
    with tempfile.TemporaryDirectory(prefix="bpsta-verify-") as folder:
        again = RunDir(Path(folder) / "again")
        _train(record, store, again, device, on_step)
        return _compared(record, store, again, device, data_dir)


def _train(record: Record, store: Store, again: RunDir, device: torch.device, on_step: OnStep | None) -> None:
    epochs = record.settings.data.epochs
    for event in training.train(record.settings, store, again.path, device=device):
        if on_step and isinstance(event, StepDone):
            on_step(event.epoch * event.steps + event.step, epochs * event.steps)


def _compared(record: Record, store: Store, again: RunDir, device: torch.device, data_dir: Path) -> Verdict:
    settings, here = record.settings, again.info().provenance
    history, metrics = history_of(again.path), _named_as(record.metrics, again.metrics(), record)
    found = {
        **_weights(record, again),
        "history.csv": differences.of_history(record.history, history),
        "metrics.json": differences.of_values("metrics.json", record.metrics, metrics),
    }
    for kind, value in _measured(record, store, again, device, data_dir).items():
        there = record.measurements[kind]
        found[kind] = differences.of_values(kind, there, _named_as(there, value, record))
    figures = tolerance.figures(record.metrics, record.history), tolerance.figures(metrics, history)
    kernel = choose(device=device, rule=settings.make_rule())
    return Verdict(
        record,
        list(found),
        [difference for difference in found.values() if difference],
        promise.unpromised(record.provenance, here, kernel, settings.training.precision),
        tolerance.too_far(*figures),
        promise.changes(record.provenance, here),
    )


def _named_as(there: dict[str, Any], again: dict[str, Any], record: Record) -> dict[str, Any]:
    """With a rule's file by the path that it had then: it is known by its SHA-256, wherever it lies."""
    return again | {"method": there["method"]} if record.rule_file and "method" in there else again


def _weights(record: Record, again: RunDir) -> dict[str, Difference | None]:
    """The weights' difference; none is told where the run has neither weights nor their hash."""
    there, sha256 = RunDir(record.path), record.metrics.get("files", {}).get("model.safetensors")
    if (record.path / "model.safetensors").is_file():
        return {"weights": differences.of_weights(there.weights(), again.weights())}
    return {} if sha256 is None else {"weights": differences.of_hashes(sha256, again.weights_sha256())}


def _measured(
    record: Record, store: Store, again: RunDir, device: torch.device, data_dir: Path
) -> dict[str, dict[str, Any]]:
    """What is measured of the new weights, of each kind that is there; under the name of the run that is there."""
    info, network = again.network(device)
    opened, sha256 = Opened(info, network, store, device), again.weights_sha256()
    return {
        kind: described(Path(str(there.get("run", ""))), opened, sha256, BY_DEFAULT[kind](opened, data_dir))
        for kind, there in record.measurements.items()
    }
