"""The training of one run, epoch by epoch; yields what happens and prints nothing."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.store import Split, Store
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.kernels.dispatch import Choice, choose
from bpsta_cli.network import Network
from bpsta_cli.network.initial_weights import draw_weights
from bpsta_cli.provenance import device_name, provenance
from bpsta_cli.training import checkpoint, run_lock
from bpsta_cli.training.checks import check_memory
from bpsta_cli.training.epoch import StepDone, make_learner, one_epoch
from bpsta_cli.training.monitor import monitoring
from bpsta_cli.training.resume import open_or_resume
from bpsta_cli.training.run_directory import RunDir, RunInfo, load_weights, network_of


@dataclass(frozen=True)
class Begun:
    """Training starts: with which kernel of the neurons (None: the twin) and how many training samples."""

    kernel: Choice | None
    samples: int


@dataclass(frozen=True)
class EpochDone:
    """One epoch: its row of history.csv, and what its firing rates warn of.

    `accuracy`, `loss` and `firing_rate`, of the test part, are there for the epochs that were evaluated.
    """

    record: dict[str, Any]
    warnings: list[str]


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
        RunError: `out` holds a run that may neither be continued nor replaced, or is trained in by another process.
        TrainingError: the numbers are no longer finite; the last good epoch stays.
        BpstaError: settings or data that cannot be used.
    """
    settings = settings.completed()
    network = _initial_network(settings, store)
    check_memory(settings, network, store.shape, device)
    kernel = network.kernel(device)
    info = _info(settings, store, device, kernel)
    training_part, validation_part = training_parts(settings, store)
    run = RunDir(out)
    with run_lock.held(out):
        if not open_or_resume(run, info, resume=resume, overwrite=overwrite):
            return  # the run is there and finished
        network.to(device)
        yield Begun(kernel, len(training_part))
        yield from _train_epochs(network, run, info, store, training_part, validation_part, device)


def _train_epochs(
    network: Network,
    run: RunDir,
    info: RunInfo,
    store: Store,
    training_part: Split,
    validation_part: Split | None,
    device: torch.device,
) -> Iterator[StepDone | EpochDone]:
    settings = info.settings
    learner = make_learner(network, settings, device)
    progress = checkpoint.restore(run, learner)
    for epoch in range(progress.epoch, settings.data.epochs):
        began = time.perf_counter()
        network.spiking = _is_spiking(settings, epoch)
        with monitoring(network, may_overflow=learner.scaler.is_enabled()) as monitor:
            record = yield from one_epoch(learner, monitor, store, training_part, epoch)
            warnings = monitor.warnings()
        if _is_evaluated(settings, epoch):
            record |= _evaluate(network, store, validation_part, settings, device)
        monitor.after_epoch(record.get("loss", record["train_loss"]))
        progress.history.append(record)
        checkpoint.save(run, learner, progress)
        checkpoint.save_seconds(run, epoch, time.perf_counter() - began)
        yield EpochDone(record, warnings)
    checkpoint.finish(run, info, progress)


def _initial_network(settings: RunSettings, store: Store) -> Network:
    """The network before the first epoch: its weights are drawn by the seed, or those of another run."""
    network = network_of(settings, store.shape, len(store.classes))
    draw_weights(network, settings.seed)
    if settings.init_from:
        origin = RunDir(Path(settings.init_from))
        load_weights(network, origin.weights(), origin.path)
    return network


def _info(settings: RunSettings, store: Store, device: torch.device, kernel: Choice | None) -> RunInfo:
    origin = provenance(device_name(device.type), torch.get_num_threads(), method=settings.method)
    return RunInfo(
        settings=settings,
        input_shape=store.shape,
        classes=store.classes,
        data_hash=store.content_hash,
        split=store.split_description,
        rule_sha256=rules.file_hash(settings.method),
        # the twin has no neurons, but what could run them computes its convolutions
        provenance={**origin, "kernel": (kernel or choose(device=device)).name},
    )


def _is_spiking(settings: RunSettings, epoch: int) -> bool:
    """Whether the epoch trains the spiking network; warm-up and the method "ann" train the ReLU twin."""
    return settings.method != rules.TWIN and epoch >= settings.data.warmup_epochs


def _is_evaluated(settings: RunSettings, epoch: int) -> bool:
    done = epoch + 1
    return done == settings.data.epochs or done % settings.training.evaluate_every == 0


def _evaluate(
    network: Network, store: Store, validation_part: Split | None, settings: RunSettings, device: torch.device
) -> dict[str, Any]:
    """The test part's columns of the epoch's record, and the validation accuracy where it selects the weights."""
    test = evaluate(network, store, store.split("test"), T=settings.T, device=device, loss=settings.training.loss)
    record = {"accuracy": test.accuracy, "loss": test.loss, "firing_rate": test.firing_rate}
    if settings.training.selection == "validation" and validation_part is not None:
        validation = evaluate(network, store, validation_part, T=settings.T, device=device)
        record["validation_accuracy"] = validation.accuracy
    return record
