"""Whether a run may begin in a directory, or continue the run that is there."""

from bpsta_cli.errors import RunError
from bpsta_cli.training.run_directory import RunDir, RunInfo

RESUMED_FROM = "resumed_from"
"""Where provenance.json keeps what it was before a run went on under another one."""


def open_or_resume(run: RunDir, info: RunInfo, *, resume: bool, overwrite: bool) -> bool:
    """Begin a run in the directory, or continue the unfinished run that it holds; the caller holds its lock.

    Args:
        run: the directory.
        info: what is about to be trained.
        resume: go on with an unfinished run of the same settings, data and code.
        overwrite: replace a run that cannot be continued, or is finished.

    Returns:
        Whether anything is left to train: False where the same run is there already and is finished.

    Raises:
        RunError: it holds a run that may neither be continued nor replaced.
    """
    if run.exists:
        difference = None if overwrite and not resume else _difference(run, info)
        if resume and difference is None:
            if not run.finished:
                _note_continuation(run, info)
                return True
            if not overwrite:
                return False
        if not overwrite:
            raise _taken(run, difference, resume=resume)
        run.clear()
    run.write_info(info)
    return True


def _note_continuation(run: RunDir, info: RunInfo) -> None:
    """Record where the run goes on, if not where it began: another machine, other libraries or a later commit."""
    before = run.info().provenance
    if {key: value for key, value in before.items() if key != RESUMED_FROM} != info.provenance:
        run.write_provenance({**info.provenance, RESUMED_FROM: before})


def _taken(run: RunDir, difference: str | None, *, resume: bool) -> RunError:
    return RunError(
        "the run directory is taken",
        expected="a new directory" + (", or the same settings, data and code" if resume else ""),
        got=f"{run.path} with {'another ' + difference if difference else 'a run'}",
        todo="Choose another --out, continue it with --resume, or replace it with --overwrite.",
    )


def _difference(run: RunDir, info: RunInfo) -> str | None:
    """What keeps the run in the directory from being continued as `info`; None where nothing does."""
    try:
        there = run.info()
    except RunError:
        return "version's settings.json"
    if there.settings != info.settings:
        mine, theirs = info.settings.model_dump(), there.settings.model_dump()
        return "setting of " + next(key for key in mine if mine[key] != theirs[key])
    if "code" not in there.provenance:
        return "version of the code, or one that provenance.json does not tell"
    facts = {
        "data set": (there.data_hash, info.data_hash),
        "version of the rule's file": (there.rule_sha256, info.rule_sha256),
        "version of the code": (there.provenance["code"], info.provenance["code"]),
    }
    return next((what for what, (theirs, mine) in facts.items() if theirs != mine), None)
