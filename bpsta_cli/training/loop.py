"""fit a network: warm-up as the ReLU twin, then with spikes; yields what happens, prints nothing."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.store import Split, Store
from bpsta_cli.errors import SettingsError
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.kernels.dispatch import Choice
from bpsta_cli.network import Network, notation
from bpsta_cli.provenance import device_name, provenance
from bpsta_cli.training.epoch import Learner, StepDone, learner, one_epoch
from bpsta_cli.training.monitor import watching
from bpsta_cli.training.run_directory import RunDir, RunInfo, claim, fit_weights, network_of


@dataclass(frozen=True)
class Begun:
    """The run directory is taken and training starts: the neurons' kernel (None: the twin), training samples."""

    kernel: Choice | None
    samples: int


@dataclass(frozen=True)
class EpochDone:
    """One epoch: its row of history.csv, and what its firing rates warn of.

    `accuracy`, `loss` and `firing_rate`, of the test part, are there for the epochs that were evaluated.
    """

    record: dict[str, Any]
    warnings: list[str]


@dataclass
class _Progress:
    """What a run knows after each epoch, and goes on from."""

    epoch: int
    history: list[dict[str, Any]]
    best: float
    best_epoch: int


def train(
    settings: RunSettings,
    store: Store,
    out: Path,
    *,
    device: torch.device,
    resume: bool = False,
    overwrite: bool = False,
) -> Iterator[Begun | StepDone | EpochDone]:
    """Train one run into directory `out`, epoch by epoch; the result is in its metrics.json at the end.

    Args:
        settings: everything that decides the outcome.
        store: the prepared data.
        out: the run directory; made when the first values are about to be written.
        device: where to compute.
        resume: go on with an unfinished run of the same settings, data and code in `out`; start where there
            is none; a finished one is left as it is.
        overwrite: replace a run in `out` that cannot be continued, or is finished.

    Raises:
        RunError: `out` holds a run that may neither be continued nor replaced.
        TrainingError: the numbers are no longer finite; the last good epoch stays.
        BpstaError: settings or data that cannot be used.
    """
    settings = settings.completed()
    run = RunDir(out)
    torch.manual_seed(settings.seed)
    network = network_of(settings, store.shape, len(store.classes))
    kernel = network.kernel(device)
    info = RunInfo(
        settings=settings,
        input_shape=store.shape,
        classes=store.classes,
        data_hash=store.content_hash,
        split=store.split_description,
        provenance={
            **provenance(device_name(device.type), torch.get_num_threads(), method=settings.method),
            "kernel": kernel.name if kernel else None,
        },
    )
    if settings.init_from:
        origin = RunDir(Path(settings.init_from))
        fit_weights(network, origin.weights(), origin.path)
    training_part, chosen_by = training_parts(settings, store)
    if claim(run, info, resume=resume, overwrite=overwrite):
        return
    network.to(device)
    yield Begun(kernel, len(training_part))
    yield from _fit(network, run, info, store, training_part, chosen_by, device)


def _fit(
    network: Network,
    run: RunDir,
    info: RunInfo,
    store: Store,
    part: Split,
    chosen_by: Split | None,
    device: torch.device,
) -> Iterator[StepDone | EpochDone]:
    settings = info.settings
    learning = learner(network, settings, device)
    progress = _restore(run, learning)
    began = time.perf_counter()
    for epoch in range(progress.epoch, settings.data.epochs):
        network.spiking = settings.method != rules.TWIN and epoch >= settings.data.warmup_epochs
        with watching(network, may_overflow=learning.scaler.is_enabled()) as monitor:
            record = yield from one_epoch(learning, monitor, store, part, epoch)
            warnings = monitor.warnings()
        last = epoch + 1 == settings.data.epochs
        if last or (epoch + 1) % settings.training.evaluate_every == 0:
            record |= _measure(network, store, chosen_by, settings, device)
        monitor.after_epoch(record.get("loss", record["train_loss"]))
        progress.history.append(record)
        _keep(run, learning, progress)
        _clock(run, epoch, time.perf_counter() - began)
        began = time.perf_counter()
        yield EpochDone(record, warnings)
    _finish(run, progress, info)


def _measure(
    network: Network, store: Store, chosen_by: Split | None, settings: RunSettings, device: torch.device
) -> dict[str, Any]:
    """Test figures of the epoch, and the validation accuracy where it selects."""
    test = evaluate(network, store, store.split("test"), T=settings.T, device=device, loss=settings.training.loss)
    record = {"accuracy": test.accuracy, "loss": test.loss, "firing_rate": test.firing_rate}
    if settings.training.selection == "validation" and chosen_by is not None:
        record["validation_accuracy"] = evaluate(network, store, chosen_by, T=settings.T, device=device).accuracy
    return record


def _keep(run: RunDir, learning: Learner, progress: _Progress) -> None:
    """Write the epoch down; the weights only where the selection prefers them."""
    network, settings = learning.network, learning.settings
    record = progress.history[-1]
    progress.epoch += 1
    column = {"final": "epoch", "validation": "validation_accuracy", "test": "accuracy"}[settings.training.selection]
    # the twin's epochs are no candidates: the network that is asked for spikes
    candidate = (network.spiking or settings.method == rules.TWIN) and column in record
    if candidate and record[column] > progress.best:
        progress.best, progress.best_epoch = record[column], record["epoch"]
    if progress.best_epoch == record["epoch"]:
        run.write_weights(network.state_dict())
    run.write_history(progress.history)
    run.write_state(
        {
            "epoch": progress.epoch,
            "history": progress.history,
            "best": progress.best,
            "best_epoch": progress.best_epoch,
            "network": network.state_dict(),
            "optimiser": learning.optimiser.state_dict(),
            "scaler": learning.scaler.state_dict(),
        }
    )


def _restore(run: RunDir, learning: Learner) -> _Progress:
    state = run.state()
    if state is None:
        return _Progress(epoch=0, history=[], best=-1.0, best_epoch=-1)
    learning.network.load_state_dict(state["network"])
    learning.optimiser.load_state_dict(state["optimiser"])
    if learning.scaler.is_enabled():
        learning.scaler.load_state_dict(state["scaler"])
    return _Progress(state["epoch"], state["history"], state["best"], state["best_epoch"])


def _finish(run: RunDir, progress: _Progress, info: RunInfo) -> None:
    settings = info.settings
    chosen = progress.history[progress.best_epoch]
    run.write_metrics(
        {
            "dataset": settings.dataset,
            "method": settings.method,
            "network": settings.data.network,
            "T": settings.T,
            "seed": settings.seed,
            "accuracy": chosen["accuracy"],
            "loss": chosen["loss"],
            "firing_rate": chosen["firing_rate"],
            "epochs": settings.data.epochs,
            "selection": settings.training.selection,
            "selected_epoch": chosen["epoch"],
            "train_accuracy": chosen["train_accuracy"],
            "data_hash": info.data_hash,
            "split": info.split,
            "provenance": info.provenance,
        }
    )


def _clock(run: RunDir, epoch: int, seconds: float) -> None:
    timings = run.timings() if epoch and run.timed else {}
    timings.setdefault("epoch_seconds", []).append(round(seconds, 3))
    run.write_timings(timings)


def check(settings: RunSettings) -> None:
    """Refuse settings whose names are wrong before any data are looked at.

    Raises:
        SettingsError: unknown method.
        DataError: unknown data set.
        StructureError: a network that cannot be read.
        RunError: no run to start from.
    """
    row = catalogue.get(settings.dataset)
    if settings.data.network not in notation.RESIDUAL:
        inputs = max(1, math.prod(row.shape))  # a folder of one's own tells its shape and classes later
        notation.parse(settings.data.network, inputs=inputs, classes=max(1, len(row.classes)))
    if settings.method != rules.TWIN:
        if settings.method not in rules.names() and not settings.method.endswith(".py"):
            raise SettingsError(
                "unknown method",
                expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or a file with a rule (.py)",
                got=repr(settings.method),
                todo="Correct --method.",
            )
        settings.make_rule()
    if settings.init_from:
        RunDir(Path(settings.init_from)).info()
