"""A run's folder, complete: weights, settings, result, history and model card, and nothing else of the machine."""

from pathlib import Path

from bpsta_cli import files
from bpsta_cli.errors import RunError
from bpsta_cli.reading import content
from bpsta_cli.reading.regular import WEIGHTS
from bpsta_cli.reporting.any_runs import AnyRun, read_runs
from bpsta_cli.sharing.contents import SHARED
from bpsta_cli.sharing.model_card import NAME, card
from bpsta_cli.training.run_directory import RunDir

PATHS = ("data.source", "init_from", "method")
"""Settings that may be paths of this machine."""


def finished(path: Path) -> AnyRun:
    """A run that may be shared: finished, with every file as it was written.

    Raises:
        RunError: there is none, it is not finished, or a file is damaged.
    """
    (run,) = read_runs([path])
    RunDir(path).metrics()
    RunDir(path).check()
    return run


def paths_in(run: AnyRun) -> list[str]:
    """The paths of this machine that its settings name, as "data.source: /home/me/images"."""
    flat = run.settings.flat()
    return [f"{key}: {flat[key]}" for key in PATHS if "/" in str(flat.get(key) or "")]


def write_card(path: Path, *, licence: str | None = None) -> Path:
    """Write the model card into a run's own folder.

    Raises:
        RunError: as `finished`.
    """
    run = finished(path)
    name = path.resolve().name
    files.write_text(path / NAME, card(run, name=name, where=name, licence=licence))
    return path / NAME


def share_to_folder(path: Path, target: Path, *, licence: str | None = None, overwrite: bool = False) -> Path:
    """Write a run and its card into another folder.

    Args:
        path: the run.
        target: the folder; made where it is not there.
        licence: of the weights.
        overwrite: replace another run there.

    Raises:
        RunError: as `finished`, or another run is in the folder.
    """
    run = finished(path)
    there = target / "settings.json"
    if there.is_file() and content(there) != content(path / "settings.json") and not overwrite:
        raise RunError(
            "the folder is taken",
            expected="a new folder, or one with the same run",
            got=f"{target} with another run",
            todo="Choose another one, or replace the run with --overwrite.",
        )
    if target.resolve() != path.resolve():
        (target / SHARED[-1]).unlink(missing_ok=True)
        for name in SHARED:
            with files.replacing(target / name) as file:
                file.write(content(path / name, WEIGHTS))
    name = target.resolve().name
    files.write_text(target / NAME, card(run, name=name, where=name, licence=licence))
    return target
