"""A run that is trained for more epochs than it was begun with: where its schedule allows, as if it had been begun so.

The longer run has the bytes of one that was begun with its number of epochs. So nothing in the epochs that are done may
depend on that number.
"""

import hashlib
import warnings
from pathlib import Path

from bpsta_cli import checksums, files
from bpsta_cli.checksums import DamagedError
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import BpstaWarning, RunError
from bpsta_cli.training import checkpoint_files
from bpsta_cli.training.checkpoint_files import Content
from bpsta_cli.training.run_directory import SETTINGS, RunDir, RunInfo


def is_longer(there: RunSettings, wanted: RunSettings) -> bool:
    """Whether `wanted` is the run that is there with more epochs, and nothing else is different."""
    more = wanted.data.epochs > there.data.epochs
    same = there.model_copy(update={"data": there.data.model_copy(update={"epochs": wanted.data.epochs})})
    return more and same == wanted


def hindrance(there: RunSettings, wanted: RunSettings) -> str:
    """What of the epochs that are done would have been otherwise in the longer run; empty where nothing would."""
    training = wanted.training
    if training.schedule != "sgdr":
        return f"training.schedule {training.schedule}, which ends at epoch {there.data.epochs}"
    if wanted.lr_warmup_epochs != there.lr_warmup_epochs:
        return (
            f"training.lr_warmup_epochs none, which is {there.lr_warmup_epochs} of {there.data.epochs} epochs and "
            f"{wanted.lr_warmup_epochs} of {wanted.data.epochs}"
        )
    if there.data.epochs % training.evaluate_every:
        return f"training.evaluate_every {training.evaluate_every}, by which epoch {there.data.epochs} is not evaluated"
    return ""


def extend(run: RunDir, info: RunInfo) -> None:
    """Make the run in the directory the longer one that `info` describes: it is unfinished then, and can go on.

    Killed at any moment, the same call again ends as this one.

    Raises:
        RunError: its schedule does not allow it, or its training state is not there.

    Warns:
        BpstaWarning: of its training state something is damaged and is passed over.
    """
    there = run.info().settings
    asked = f"data.epochs {there.data.epochs} there and {info.settings.data.epochs} asked for"
    if hindered := hindrance(there, info.settings):
        raise RunError(
            "a run that cannot be extended",
            expected="training.schedule sgdr, lr_warmup_epochs as a number, and a last epoch that is evaluated anyway",
            got=f"{hindered} ({run.path}: {asked})",
            todo="Train a longer run anew, or start one from these weights: --init-from.",
        )
    text = checksums.with_checksum(info.model_dump(mode="json"))
    new = hashlib.sha256(text.encode()).hexdigest()
    found, belongs = _newest(run, (run.info_checksum(), new))
    if found is None:
        raise RunError(
            "a run that cannot be extended",
            expected="its training state, which a run that ended with --keep-state has",
            got=f"none in {run.path} ({asked})",
            todo="Train a longer run anew, or start one from these weights: --init-from.",
        )
    tensors, state = found
    if belongs != new:
        step = (state.get("within") or {}).get("step", 0)
        run.checkpoints.write(state["epoch"], step, tensors, {**state, "run": new})
    run.remove_result()
    files.write_text(run.path / SETTINGS, text)


def _newest(run: RunDir, checksums_of_run: tuple[str, str]) -> tuple[Content | None, str]:
    """The newest usable training state of the run as it was or as it will be, and which of them it belongs to.

    Warns:
        BpstaWarning: a newer one is damaged.
    """

    def use(file: Path) -> tuple[Content, str]:
        try:
            return checkpoint_files.read(file, checksums_of_run[0]), checksums_of_run[0]
        except DamagedError:
            return checkpoint_files.read(file, checksums_of_run[1]), checksums_of_run[1]

    for place in (run.checkpoints, run.kept):
        try:
            found, passed_over = place.newest(use)
        except RunError as damaged:
            found, passed_over = None, [damaged.got]
        for wrong in passed_over:
            warnings.warn(wrong, BpstaWarning, stacklevel=2)
        if found is not None:
            return found
    return None, ""
