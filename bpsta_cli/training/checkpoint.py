"""What a run writes after each epoch and at its end, and how an interrupted run goes on from there."""

from dataclasses import dataclass
from typing import Any

from bpsta_cli import rules
from bpsta_cli.training.epoch import Learner
from bpsta_cli.training.run_directory import RunDir, RunInfo

COLUMNS = {"final": "epoch", "validation": "validation_accuracy", "test": "accuracy"}
"""The column of history.csv by which each selection chooses the weights: those of the epoch with the highest value."""


@dataclass
class Progress:
    """What a run knows after each epoch, beside the learner's state.

    Attributes:
        epoch: how many epochs are done.
        history: their records.
        best: the highest value so far in the selection's column; -1 before there is one.
        best_epoch: the epoch of that value; -1 before there is one.
    """

    epoch: int
    history: list[dict[str, Any]]
    best: float
    best_epoch: int


def restore(run: RunDir, learner: Learner) -> Progress:
    """Load the state after the last finished epoch into `learner`; where there is none, progress begins at 0.

    Raises:
        RunError: the state cannot be read.
    """
    state = run.state()
    if state is None:
        return Progress(epoch=0, history=[], best=-1.0, best_epoch=-1)
    learner.network.load_state_dict(state["network"])
    learner.optimiser.load_state_dict(state["optimiser"])
    if learner.scaler.is_enabled():
        learner.scaler.load_state_dict(state["scaler"])
    return Progress(state["epoch"], state["history"], state["best"], state["best_epoch"])


def save(run: RunDir, learner: Learner, progress: Progress) -> None:
    """Write the epoch whose record is the last: history, state, and the weights where the selection prefers them."""
    network, record = learner.network, progress.history[-1]
    progress.epoch += 1
    _select(learner, progress)
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
            "optimiser": learner.optimiser.state_dict(),
            "scaler": learner.scaler.state_dict(),
        }
    )


def _select(learner: Learner, progress: Progress) -> None:
    settings, record = learner.settings, progress.history[-1]
    column = COLUMNS[settings.training.selection]
    # epochs of warm-up are no candidates: a spiking network is wanted, and they train the twin
    candidate = (learner.network.spiking or settings.method == rules.TWIN) and column in record
    if candidate and record[column] > progress.best:
        progress.best, progress.best_epoch = record[column], record["epoch"]


def save_seconds(run: RunDir, epoch: int, seconds: float) -> None:
    """Write how long the epoch took, beside the times of the epochs before it."""
    timings = run.timings() if epoch and run.timed else {}
    timings.setdefault("epoch_seconds", []).append(round(seconds, 3))
    run.write_timings(timings)


def finish(run: RunDir, info: RunInfo, progress: Progress) -> None:
    """Write the result, that of the selected epoch: from here on the run is finished."""
    settings = info.settings
    selected = progress.history[progress.best_epoch]
    run.write_metrics(
        {
            "dataset": settings.dataset,
            "method": settings.method,
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
            "weights_sha256": run.weights_sha256(),
        }
    )
