"""Whose a run directory is: a new run's, an unfinished one's that goes on, or somebody else's."""

from bpsta_cli.checkpoints import RunDir, RunInfo
from bpsta_cli.errors import RunError


def claim(run: RunDir, info: RunInfo, *, resume: bool, overwrite: bool) -> bool:
    """Make the directory this run's.

    Args:
        run: the directory.
        info: what is about to be trained.
        resume: go on with an unfinished run of the same settings, data and code.
        overwrite: replace a run that cannot be continued, or is finished.

    Returns:
        True where the run in it is finished and stays: nothing is left to train.

    Raises:
        RunError: it holds a run that may neither be continued nor replaced, or is a file.
    """
    if run.path.exists() and not run.path.is_dir():
        raise RunError(
            "the run directory is a file",
            expected="a directory, there or not",
            got=str(run.path),
            todo="Choose another --out.",
        )
    if run.exists:
        other = None if overwrite and not resume else _difference(run, info)
        if resume and other is None and not run.finished:
            return False
        if resume and other is None and not overwrite:
            return True
        if not overwrite:
            raise RunError(
                "the run directory is taken",
                expected="a new directory" + (", or the same settings, data and code" if resume else ""),
                got=f"{run.path} with {'another ' + other if other else 'a run'}",
                todo="Choose another --out, continue it with --resume, or replace it with --overwrite.",
            )
        run.clear()
    run.write_info(info)
    return False


def _difference(run: RunDir, info: RunInfo) -> str | None:
    """What keeps the run in the directory from being continued as `info`; None when nothing does."""
    try:
        there = run.info()
    except RunError:
        return "version's settings.json"
    if there.settings != info.settings:
        mine, theirs = info.settings.model_dump(), there.settings.model_dump()
        return "setting of " + next(key for key in mine if mine[key] != theirs[key])
    if there.data_hash != info.data_hash:
        return "data set"
    if there.provenance.get("code") != info.provenance["code"]:
        return "version of the code"
    return None
