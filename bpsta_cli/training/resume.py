"""Whether a run begins in a directory, goes on there, or is there already."""

import warnings

from bpsta_cli import files
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import BpstaWarning, RunError
from bpsta_cli.training import checkpoint, extension
from bpsta_cli.training.run_directory import OLD_STATE, RunDir, RunInfo

MOST = 3
"""So many settings that differ are named; the others are counted."""
RESUMED_FROM = "resumed_from"
"""Where provenance.json keeps what it was before a run went on under another one."""


def open_or_resume(run: RunDir, info: RunInfo, *, resume: bool, overwrite: bool, keep_state: bool = False) -> bool:
    """Begin a run in the directory, or continue the unfinished run of the same settings, data and code there.

    The caller holds the directory's lock.

    Args:
        run: the directory.
        info: what is about to be trained.
        resume: a run of fewer epochs there is trained for more, where its schedule allows; with `overwrite`: go on
            where that is possible, and replace only what cannot be gone on with.
        overwrite: replace the run that is there.
        keep_state: whether a finished run keeps its training state, where it was killed before that was settled.

    Returns:
        Whether anything is left to train: False where the same run is there already and is finished.

    Raises:
        RunError: it holds another run, a damaged one, or is a file.

    Warns:
        BpstaWarning: with both, the settings there cannot be read: the run is replaced.
    """
    if run.exists:
        if resume and not overwrite and _is_shorter(run, info):
            extension.extend(run, info)
        difference = None if overwrite and not resume else _difference(run, info)
        if difference is not None and not overwrite:
            raise _taken(run, difference)
        same = difference is None and (resume or not overwrite)
        if same and not run.finished:
            _note_continuation(run, info)
            return True
        if same and not overwrite:
            run.check()
            files.sweep(run.path)
            checkpoint.put_away(run, keep_state=keep_state)  # the run may have been killed just after its result
            return False
        if resume:
            _tell_damage(run)
        run.clear()
    run.write_info(info)
    return True


def _tell_damage(run: RunDir) -> None:
    """Warn that a run which should go on begins anew, because it cannot be read."""
    try:
        run.info()
    except RunError as damaged:
        warnings.warn(f"{damaged.got}. The run begins anew.", BpstaWarning, stacklevel=3)


def _note_continuation(run: RunDir, info: RunInfo) -> None:
    """Record where the run goes on, if not where it began: another machine, other libraries or a later commit."""
    before = run.info().provenance
    if {key: value for key, value in before.items() if key != RESUMED_FROM} != info.provenance:
        run.write_provenance({**info.provenance, RESUMED_FROM: before})


def _taken(run: RunDir, difference: str) -> RunError:
    return RunError(
        "the run directory is taken",
        expected="a new directory, or a run of the same settings, data and code",
        got=f"{run.path} with another {difference}",
        todo="Choose another --out, or replace the run with --overwrite.",
    )


def _is_shorter(run: RunDir, info: RunInfo) -> bool:
    """Whether the run in the directory is the one that is asked for but for its number of epochs, which is less."""
    try:
        there = run.info()
    except RunError:
        return False
    return extension.is_longer(there.settings, info.settings) and _other_fact(there, info) is None


def _difference(run: RunDir, info: RunInfo) -> str | None:
    """What keeps the run in the directory from being continued as `info`; None where nothing does."""
    try:
        there = run.info()
    except RunError as unreadable:
        return f"version's settings.json, or a damaged one ({unreadable.got})"
    if there.settings != info.settings:
        return "setting of " + _different_settings(there.settings, info.settings)
    if (run.path / OLD_STATE).is_file() and not run.finished:
        return f"version's training state, {OLD_STATE}, which is not read"
    return _other_fact(there, info)


def _other_fact(there: RunInfo, info: RunInfo) -> str | None:
    """What beside the settings is another: code, data or the rule's file; None where nothing is."""
    if "code" not in there.provenance:
        return "version of the code, or one that provenance.json does not tell"
    facts = {
        "data set": (there.data_hash, info.data_hash),
        "version of the rule's file": (there.rule_sha256, info.rule_sha256),
        "version of the code": (there.provenance["code"], info.provenance["code"]),
    }
    return next((what for what, (theirs, mine) in facts.items() if theirs != mine), None)


def _different_settings(there: RunSettings, wanted: RunSettings) -> str:
    """The keys that differ, each with both values: "data.epochs (12 there, 20 asked for), seed (0 there, ...)"."""
    old, new = there.flat(), wanted.flat()
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    named = [f"{key} ({_said(old.get(key))} there, {_said(new.get(key))} asked for)" for key in keys[:MOST]]
    return ", ".join(named) + (f" and {len(keys) - MOST} more" if len(keys) > MOST else "")


def _said(value: object) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
