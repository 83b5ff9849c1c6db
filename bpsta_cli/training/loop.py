"""The training of one run, epoch by epoch; yields what happens and prints nothing."""

import contextlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.store import Split, Store
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.evaluation.accuracy import OnBatch, evaluate
from bpsta_cli.kernels.dispatch import Choice, choose
from bpsta_cli.network import Network, losses
from bpsta_cli.network.initial_weights import draw_weights
from bpsta_cli.provenance import device_name, provenance
from bpsta_cli.training import checkpoint, run_lock, warmup
from bpsta_cli.training.checkpoint import Keeper, StoppedError
from bpsta_cli.training.checks import check_memory
from bpsta_cli.training.epoch import Learner, StepDone, Sums, make_learner, one_epoch, steps_of
from bpsta_cli.training.initial_rate import set_gains
from bpsta_cli.training.monitor import Monitor, monitoring
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.run_network import load_weights, network_of
from bpsta_cli.training.state import Progress
from bpsta_cli.training.together import by_writer, compare, opened, restored

CHECKPOINT_MINUTES = 10.0
"""From one checkpoint within an epoch to the next: what a kill costs at most."""


@dataclass(frozen=True)
class Begun:
    """Training starts, or goes on.

    Attributes:
        kernel: of the neurons; None: the twin.
        samples: how many are trained on.
        epoch: epochs that were done before.
        step: steps of the next epoch that were done before.
        warnings: what of the run's checkpoints was damaged and had to be passed over.
        history: the records of the epochs that were done before.
    """

    kernel: Choice | None
    samples: int
    epoch: int = 0
    step: int = 0
    warnings: tuple[str, ...] = ()
    history: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class EpochDone:
    """One epoch: its row of history.csv, and what its firing rates warn of.

    `accuracy`, `loss` and `firing_rate`, of the test part, are there for the epochs that were evaluated.
    """

    record: dict[str, Any]
    warnings: list[str]


@dataclass(frozen=True)
class Stopped:
    """The run was asked to stop and is written: it goes on after so many epochs, and steps of the next one."""

    epoch: int
    step: int


Event = Begun | StepDone | EpochDone | Stopped


def never() -> bool:
    """No one asks the run to stop."""
    return False


def train(
    settings: RunSettings,
    store: Store,
    out: str | Path,
    *,
    device: torch.device | str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    checkpoint_minutes: float = CHECKPOINT_MINUTES,
    stop: Callable[[], bool] = never,
    keep_state: bool = False,
    ranks: Ranks | None = None,
) -> Iterator[Event]:
    """Train one run into directory `out`, epoch by epoch; the result is in its metrics.json at the end.

    An unfinished run of the same settings, data and code in `out` goes on where it was; a finished one is left as it
    is, without any event.

    Args:
        settings: everything that decides the outcome; `training.settings` makes them from a few.
        store: the prepared data; `training.data` gives them.
        out: the run directory; made when the first values are about to be written.
        device: where to compute.
        resume: go on with the run in `out`, for more epochs where its schedule allows; with `overwrite`: go on where
            that is possible.
        overwrite: replace a run in `out`.
        checkpoint_minutes: from one checkpoint within an epoch to the next; one is also written after each epoch.
        stop: asked after every step; where it says so, a checkpoint is written and the last event is `Stopped`.
        keep_state: the training state of the finished run stays in the directory, so that it can be extended.
        ranks: the processes that train this run together, all of which call this; None: this one is alone.

    Raises:
        RunError: `out` holds a run that may neither be continued nor replaced, or a damaged one, or is trained in by
            another process.
        TrainingError: the numbers are no longer finite; the last good epoch stays.
        RanksError: another process of the run is gone, or has other settings, data or code.
        BpstaError: settings or data that cannot be used.
    """
    settings, out, device = settings.completed(), Path(out), torch.device(device)
    network = _initial_network(settings, store)
    check_memory(settings, network, store.shape, device)
    kernel = network.kernel(device)
    info = _info(settings, store, device, kernel, ranks)
    training_part, validation_part = training_parts(settings, store)
    run = RunDir(out)
    writes = ranks is None or ranks.writes
    with contextlib.ExitStack() as until_the_end:
        by_writer(lambda: until_the_end.enter_context(run_lock.held(out)), ranks)
        if ranks is not None:
            compare(info, ranks)
        if not opened(run, info, ranks, resume=resume, overwrite=overwrite, keep_state=keep_state):
            return  # the run is there and finished
        network.to(device)
        learner = make_learner(network, settings, device, store.shape, ranks)
        steps = steps_of(training_part, settings)
        progress, warnings = restored(run, info, learner, steps, overwrite=overwrite)
        yield Begun(kernel, len(training_part), *_position(progress), tuple(warnings), tuple(progress.history))
        keeper = Keeper(run, learner, progress, steps=steps, minutes=checkpoint_minutes, stop=stop)
        try:
            yield from _train_epochs(keeper, store, training_part, validation_part)
        except StoppedError as stopped:
            yield Stopped(stopped.epoch, stopped.step)
            return
        if writes:
            checkpoint.finish(run, info, progress, keep_state=keep_state)
        if ranks is not None:
            ranks.wait()  # none ends well before the result is written


def _position(progress: Progress) -> tuple[int, int]:
    return progress.epoch, progress.within.step if progress.within else 0


def _train_epochs(
    keeper: Keeper, store: Store, training_part: Split, validation_part: Split | None
) -> Iterator[StepDone | EpochDone]:
    learner, progress = keeper.learner, keeper.progress
    network, settings = learner.network, learner.settings
    for epoch in range(progress.epoch, settings.data.epochs):
        sums = keeper.begin_epoch()
        phase = warmup.phase_of(settings, epoch)
        warmup.enter(network, phase)
        if warmup.begins_to_spike(settings, epoch) and not sums.step:
            set_gains(learner, store, training_part, epoch)
        with monitoring(network, may_overflow=learner.scaler.is_enabled(), ranks=learner.ranks) as monitor:
            steps = one_epoch(learner, monitor, store, training_part, epoch, sums)
            record = yield from _kept(steps, keeper, monitor, sums)
            warnings = monitor.warnings(warmup.remedy(settings, phase))
        if _is_evaluated(settings, epoch):
            between = keeper.between_batches(monitor, sums)
            record |= _evaluate(learner, store, validation_part, between)
        monitor.after_epoch(record.get("loss", record["train_loss"]))
        progress.history.append(record)
        keeper.after_epoch(sums)
        yield EpochDone(record, warnings)


def _kept(
    steps: Generator[StepDone, None, dict[str, Any]], keeper: Keeper, monitor: Monitor, sums: Sums
) -> Generator[StepDone, None, dict[str, Any]]:
    """The steps of an epoch, with checkpoints between them; returns what `steps` returns."""
    try:
        while True:
            yield next(steps)
            keeper.after_step(monitor, sums)
    except StopIteration as end:
        record: dict[str, Any] = end.value
        return record
    finally:
        steps.close()


def _initial_network(settings: RunSettings, store: Store) -> Network:
    """The network before the first epoch: its weights are drawn by the seed, or those of another run."""
    network = network_of(settings, store.shape, len(store.classes))
    draw_weights(network, settings.seed)
    if settings.init_from:
        origin = RunDir(Path(settings.init_from))
        load_weights(network, origin.weights(network), origin.path)
    return network


def _info(
    settings: RunSettings, store: Store, device: torch.device, kernel: Choice | None, ranks: Ranks | None
) -> RunInfo:
    origin = provenance(device_name(device.type), torch.get_num_threads(), method=settings.method)
    if ranks is not None:
        origin |= {"processes": ranks.world, "reduce": "shares" if ranks.ordered else "sums"}
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


def _is_evaluated(settings: RunSettings, epoch: int) -> bool:
    done = epoch + 1
    return done == settings.data.epochs or done % settings.training.evaluate_every == 0


def _evaluate(learner: Learner, store: Store, validation_part: Split | None, on_batch: OnBatch) -> dict[str, Any]:
    """The test part's columns of the epoch's record, and those of the validation part where it selects the weights."""
    network, settings, device, ranks = learner.network, learner.settings, learner.device, learner.ranks
    test = evaluate(
        network,
        store,
        store.split("test"),
        T=settings.T,
        device=device,
        loss=settings.training.loss,
        rates=losses.Rates(settings.training.right_rate, settings.training.wrong_rate),
        on_batch=on_batch,
        ranks=ranks,
    )
    record = {"accuracy": test.accuracy, "loss": test.loss, "firing_rate": test.firing_rate}
    if settings.training.selection == "validation" and validation_part is not None:
        validation = evaluate(
            network, store, validation_part, T=settings.T, device=device, on_batch=on_batch, ranks=ranks
        )
        record["validation_accuracy"] = validation.accuracy
        record["validation_firing_rate"] = validation.firing_rate
    return record
