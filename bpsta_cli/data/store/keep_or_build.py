"""Preparing a data set: its store is kept where it is as asked, and built where it is not."""

from __future__ import annotations

from pathlib import Path

from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue, home
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.preparation import AppliedPreparation, applied
from bpsta_cli.data.sources import Progress, Source, find, hold_out
from bpsta_cli.data.store import build
from bpsta_cli.data.store.locate import folder_name
from bpsta_cli.data.store.store import Store, open_store, whole_store
from bpsta_cli.errors import DataError


def prepare(
    name: str,
    preparation: Preparation,
    *,
    source: Path | str | None = None,
    data_dir: Path | str | None = None,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Store:
    """The store of data set `name`, built if it is not there or not as asked.

    A store that is there is kept, unless a `source` is given whose files differ from those it was
    made from (`Source.fingerprint`). A damaged store is built anew; its arrays are read for that once on each machine.

    Args:
        name: a name in the catalogue.
        preparation: how; what of it does not apply to the data set is not read.
        source: the folder that holds the files; None for data_dir/raw, downloaded to if need be.
        data_dir: holds raw/ and prepared/; None: `home.folder()`.
        progress: called with samples done, their total, and what is being done.
        processes: how many processes read; None: one for each processor where there is much to read.

    Raises:
        DataError: the data set cannot be prepared so, missing or damaged files, or a failed download.
    """
    source = None if source is None else Path(source)
    data_dir = home.folder() if data_dir is None else Path(data_dir)
    dataset = catalogue.described(name, source)
    how = applied(preparation, dataset)
    target = how.path(data_dir, folder_name(dataset, source))
    progress = progress or _silent
    store = _usable(target, dataset, how, progress)
    if store is not None and source is None:
        return store
    progress(0, 0, f"{name}: looking for the files, or downloading them")
    found = find(dataset, source, data_dir / "raw")
    try:
        if store is not None and store.manifest.source == found.fingerprint():
            return store
        if how.test_fraction is not None:
            found = hold_out(dataset, found, how.test_fraction, how.split_seed or 0)
        return _built(target, dataset, how, found, progress, processes)
    except OSError as error:
        raise DataError(
            f"{target} cannot be prepared",
            expected="files that can be read and a folder that can be written",
            got=str(error),
            todo="Check the permissions and the room on the disk.",
        ) from error


def _built(
    target: Path, dataset: Dataset, how: AppliedPreparation, found: Source, progress: Progress, processes: int | None
) -> Store:
    """The store at `target`, built by this process or meanwhile by another one."""
    with build.locked(target):
        store = _usable(target, dataset, how, progress)
        if store is None or store.manifest.source != found.fingerprint():
            build.build(target, dataset, how, found, progress, processes)
        return open_store(target)


def _silent(_done: int, _total: int, _text: str) -> None:
    """No progress."""


def _usable(target: Path, dataset: Dataset, how: AppliedPreparation, progress: Progress) -> Store | None:
    """The store at `target` if it is whole and as asked."""
    store = whole_store(target)
    if store is None or not store.manifest.wanted(dataset, how):
        return None
    try:
        store.verify_once(progress)
    except DataError:
        return None
    return store
