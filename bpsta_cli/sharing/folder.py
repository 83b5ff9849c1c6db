"""A run's folder, complete: weights, settings, result, history and model card, and nothing else of the machine."""

import os
from pathlib import Path

from bpsta_cli import files
from bpsta_cli.errors import RunError
from bpsta_cli.reading import content
from bpsta_cli.reading.regular import WEIGHTS
from bpsta_cli.reporting.any_runs import AnyRun, read_runs
from bpsta_cli.sharing.contents import SHARED
from bpsta_cli.sharing.model_card import LIBRARY, NAME, card
from bpsta_cli.training.run_directory import RunDir

FRONT = f"library_name: {LIBRARY}"
"""A line of a model card's front matter."""
PATHS = ("data.source", "init_from", "method")
"""Settings that may be paths of this machine."""


def finished(run: str | Path | AnyRun) -> AnyRun:
    """A run that may be shared: finished, with every file as it was written; one that is from here is not read again.

    Raises:
        RunError: there is none, it is not finished, or a file is damaged.
    """
    if isinstance(run, AnyRun):
        return run
    (found,) = read_runs([run])
    RunDir(run).metrics()
    RunDir(run).check()
    return found


def paths_in(run: AnyRun) -> list[str]:
    """The paths of this machine that its settings name, as "data.source: /home/me/images"."""
    flat = run.settings.flat()
    return [f"{key}: {flat[key]}" for key in PATHS if "/" in str(flat.get(key) or "")]


def write_card(run: str | Path | AnyRun, *, licence: str | None = None, overwrite: bool = False) -> Path:
    """Write the model card into a run's own folder.

    Args:
        run: its directory, or what `finished` gave.
        licence: of the weights.
        overwrite: replace a README.md there that is no model card.

    Raises:
        RunError: as `finished`, or such a README.md is there.
    """
    found = finished(run)
    if not overwrite:
        _refuse_taken(found.path, [NAME])
    name = found.path.resolve().name
    return _write_card(found, found.path, name=name, where=name, licence=licence)


def share_to_folder(
    run: str | Path | AnyRun, target: str | Path, *, licence: str | None = None, overwrite: bool = False
) -> Path:
    """Write a run and its card into another folder.

    Args:
        run: its directory, or what `finished` gave.
        target: the folder; made where it is not there.
        licence: of the weights.
        overwrite: replace another run there, or files that are called as its files are.

    Raises:
        RunError: as `finished`, or another run or such a file is in the folder.
    """
    found, target = finished(run), Path(target)
    there = target / "settings.json"
    if not overwrite and there.is_file():
        if content(there) != content(found.path / "settings.json"):
            raise _taken(target, "another run")
        _refuse_taken(target, [NAME])
    elif not overwrite:
        _refuse_taken(target, [*SHARED, NAME])
    name = target.resolve().name
    bundle(found, target, name=name, where=name, licence=licence)
    return target


def _refuse_taken(folder: Path, names: list[str]) -> None:
    """Refuse a folder with a file of these names that is of something else; a README.md may be a model card."""
    for name in names:
        file = folder / name
        if os.path.lexists(file) and not (name == NAME and FRONT.encode() in content(file)):
            raise _taken(folder, f"a {name} of something else")


def _taken(folder: Path, what: str) -> RunError:
    return RunError(
        "the folder is taken",
        expected="a new folder, or one with the same run and its model card",
        got=f"{folder} with {what}",
        todo="Choose another one, or replace that with --overwrite.",
    )


def bundle(run: AnyRun, target: Path, *, name: str, where: str, licence: str | None) -> None:
    """Put the files of a finished run and its card into a folder; the card's words as in `card`."""
    if target.resolve() != run.path.resolve():
        (target / SHARED[-1]).unlink(missing_ok=True)
        for each in SHARED:
            with files.replacing(target / each) as file:
                file.write(content(run.path / each, WEIGHTS))
    _write_card(run, target, name=name, where=where, licence=licence)


def _write_card(run: AnyRun, folder: Path, *, name: str, where: str, licence: str | None) -> Path:
    files.write_text(folder / NAME, card(run, name=name, where=where, licence=licence))
    return folder / NAME
