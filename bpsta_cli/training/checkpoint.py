"""What a run keeps while it trains and at its end, and how an interrupted run goes on from there."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from bpsta_cli import rules
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.training import checkpoint_files, state, tensor_files
from bpsta_cli.training.epoch import Learner, Sums, is_read_after
from bpsta_cli.training.monitor import Monitor
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.state import Progress

COLUMNS = {"final": "epoch", "validation": "validation_accuracy", "test": "accuracy"}
"""The column of history.csv by which each selection chooses the weights: those of the epoch with the highest value."""


class StoppedError(Exception):
    """The run was asked to stop after so many epochs, and steps of the next; that is in a checkpoint."""

    def __init__(self, epoch: int, step: int) -> None:
        super().__init__(f"stopped after {epoch} epochs and {step} steps")
        self.epoch, self.step = epoch, step


def restore(run: RunDir, learner: Learner, steps: int) -> tuple[Progress, list[str]]:
    """Load the newest whole checkpoint into `learner`; where there is none, progress begins at 0.

    Args:
        run: the run's directory.
        learner: as it is at the start of the run.
        steps: steps of an epoch.

    Returns:
        How far the run is, and a sentence for each newer checkpoint that cannot be used.

    Raises:
        RunError: there are checkpoints, and none of them can be used.
    """
    checksum = run.info_checksum()

    def use(file: Path) -> Progress:
        content = checkpoint_files.read(file, checksum, lambda header: state.check_header(header, learner))
        return state.apply(learner, steps, *content)

    progress, warnings = run.checkpoints.newest(use)
    return progress or Progress(), warnings


def share(learner: Learner, progress: Progress, steps: int, ranks: Ranks) -> Progress:
    """Bring every process's learner to the state of the one that writes, which has read it; returns how far that is.

    No other process reads the run's directory, which need not be there on other machines.
    """
    tensors, rest = state.gather(learner, progress, "") if ranks.writes else ({}, {})
    content = ranks.bytes_of_writer(bytes(tensor_files.pack(tensors)))
    described = ranks.bytes_of_writer(json.dumps(rest).encode())
    if ranks.writes:
        return progress
    return state.apply(learner, steps, tensor_files.unpack(content), json.loads(described))


class Keeper:
    """Writes the checkpoints of a run: after each epoch, within it every so many minutes, and when asked to stop.

    Of several processes one writes; whether to write and whether to stop they decide together.

    Args:
        run: the run's directory.
        learner: what is trained.
        progress: how far it is; `after_epoch` takes it further.
        steps: steps of an epoch.
        minutes: from one checkpoint within an epoch to the next.
        stop: asked after every step and every batch of an evaluation.
    """

    def __init__(
        self,
        run: RunDir,
        learner: Learner,
        progress: Progress,
        *,
        steps: int,
        minutes: float,
        stop: Callable[[], bool],
    ) -> None:
        self.run, self.learner, self.progress = run, learner, progress
        self.steps, self.minutes, self.stop = steps, minutes, stop
        self._written = self._began = time.monotonic()

    @property
    def writes(self) -> bool:
        """Whether this process writes."""
        ranks = self.learner.ranks
        return ranks is None or ranks.writes

    def begin_epoch(self) -> Sums:
        """The sums that the next epoch adds to: those of its steps that are done already, or none."""
        self._began = time.monotonic()
        sums, self.progress.within = self.progress.within or Sums(), None
        return sums

    def after_step(self, monitor: Monitor, sums: Sums) -> None:
        """Write a checkpoint where it is time to.

        Raises:
            StoppedError: the run shall stop; it is written.
        """
        if self.learner.ranks is not None and not is_read_after(sums.step, self.steps, self.learner.device):
            return  # what all decide together has to be read from the device
        stop, write = self._decided(self.stop(), self.writes and self._is_due() and sums.step < self.steps)
        if stop or write:
            self._write_within(monitor, sums)
        if stop:
            raise StoppedError(self.progress.epoch, sums.step)

    def _is_due(self) -> bool:
        return time.monotonic() - self._written >= 60 * self.minutes

    def _decided(self, *wanted: bool) -> tuple[bool, ...]:
        """What one process at least wants, for each of several things; all do the same."""
        ranks = self.learner.ranks
        return wanted if ranks is None else tuple(ranks.any(*wanted))

    def between_batches(self, monitor: Monitor, sums: Sums) -> Callable[[int, int], None]:
        """What an evaluation calls after each batch: it too can be stopped, and is made again from its start."""

        def check(_done: int, _total: int) -> None:
            if self._decided(self.stop())[0]:
                self._write_within(monitor, sums)
                raise StoppedError(self.progress.epoch, sums.step)

        return check

    def after_epoch(self, sums: Sums) -> None:
        """Write the epoch whose record is the last.

        Raises:
            StoppedError: the run shall stop, and there is more to do.
        """
        progress = self.progress
        progress.epoch += 1
        progress.seconds.append(round(self._seconds(sums), 3))
        if self.writes:
            _select(self.learner, progress)
            self._write(step=0)
            self.run.write_history(progress.history)
            self.run.write_timings({"epoch_seconds": progress.seconds})
        if self._decided(self.stop())[0] and progress.epoch < self.learner.settings.data.epochs:
            raise StoppedError(progress.epoch, 0)

    def _write_within(self, monitor: Monitor, sums: Sums) -> None:
        sums.note(monitor, self.learner.device, self._seconds(sums))
        self._began = time.monotonic()
        if not self.writes:
            return
        self.progress.within = sums
        self._write(step=sums.step)
        self.progress.within = None

    def _write(self, *, step: int) -> None:
        tensors, rest = state.gather(self.learner, self.progress, self.run.info_checksum())
        self.run.checkpoints.write(self.progress.epoch, step, tensors, rest)
        self._written = time.monotonic()

    def _seconds(self, sums: Sums) -> float:
        return sums.seconds + time.monotonic() - self._began


def _select(learner: Learner, progress: Progress) -> None:
    settings, record = learner.settings, progress.history[-1]
    column = COLUMNS[settings.training.selection]
    # epochs of warm-up are no candidates: a spiking network is wanted, and they train the twin
    candidate = (learner.network.spiking or settings.method == rules.TWIN) and column in record
    if candidate and record[column] > progress.best:
        progress.best, progress.best_epoch = record[column], record["epoch"]
        weights = learner.network.state_dict()
        progress.selected = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def finish(run: RunDir, info: RunInfo, progress: Progress, *, keep_state: bool) -> None:
    """Write the result, that of the selected epoch: from here on the run is finished.

    With `keep_state` its training state stays, so that it can be trained for more epochs.
    """
    settings = info.settings
    assert progress.selected is not None, "the last epoch is always a candidate"
    selected = progress.history[progress.best_epoch]
    run.write_weights(progress.selected)
    run.write_history(progress.history)
    run.write_timings({"epoch_seconds": progress.seconds})
    run.write_metrics(
        {
            "dataset": settings.dataset,
            "method": info.label,
            "network": settings.data.network,
            "T": settings.T,
            "seed": settings.seed,
            "accuracy": selected["accuracy"],
            "loss": selected["loss"],
            "firing_rate": selected["firing_rate"],
            "epochs": settings.data.epochs,
            "selection": settings.training.selection,
            "selected_epoch": selected["epoch"],
            "train_accuracy": selected["train_accuracy"],
            "data_hash": info.data_hash,
            "split": info.split,
        }
    )
    put_away(run, keep_state=keep_state)


def put_away(run: RunDir, *, keep_state: bool) -> None:
    """Keep the training state of a run that has just become a finished one, or remove it; nothing where that is done.

    Killed at any moment, the same call again ends as this one.
    """
    if keep_state and run.checkpoints.files():
        run.checkpoints.move_to(run.kept)
    elif run.checkpoints.files():
        run.kept.clear()
    run.checkpoints.clear()
