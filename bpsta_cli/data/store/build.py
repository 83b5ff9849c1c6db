"""Building a prepared store: written chunk by chunk into a hidden folder, which is then renamed to the store's name."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bpsta_cli import files, locks
from bpsta_cli.data import encoding
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.parallel import enough_processes, parallel_map
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Clip, Images, Item, Progress, Recordings, Row, Samples, Source, Split
from bpsta_cli.data.store import manifest
from bpsta_cli.data.store.manifest import ArrayRecord, Manifest, chunks
from bpsta_cli.data.store.write import ArrayWriter
from bpsta_cli.errors import DataError

_BUILDING = ".building"
_CUTTERS = {"number": encoding.split_by_number, "time": encoding.split_by_time}


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the one lock for building `target`; another process that wants it waits.

    The system releases the lock when its process ends, so a half-built folder that is found under the lock belongs
    to no living process and is removed; so are those of other stores beside it whose lock is free.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _lock(target).open("w") as file:
        locks.lock_or_warn(file.fileno(), target.parent, "prepares data")
        for leftover in (_building(target), _replaced(target)):
            shutil.rmtree(leftover, ignore_errors=True)
        _sweep(target.parent)
        yield


def _sweep(folder: Path) -> None:
    """Remove what killed processes left half-built of any store in `folder`."""
    for leftover in folder.glob(f".*{_BUILDING}"):
        name = leftover.name.removeprefix(".").removesuffix(_BUILDING)
        with contextlib.suppress(locks.NoLocksError), _lock(folder / name).open("w") as file:
            if locks.lock(file.fileno(), wait=False):
                shutil.rmtree(leftover, ignore_errors=True)


def _lock(target: Path) -> Path:
    return target.parent / f".{target.name}.lock"


def _building(target: Path) -> Path:
    return target.parent / f".{target.name}{_BUILDING}"


def _replaced(target: Path) -> Path:
    return target.parent / f".{target.name}.replaced"


def build(
    target: Path,
    dataset: Dataset,
    how: AppliedPreparation,
    source: Source,
    progress: Progress,
    processes: int | None = None,
) -> None:
    """Write the store `target`; the caller holds its lock. Replaces a store, never anything else.

    Args:
        target: the store's folder.
        dataset: its row.
        how: what of a preparation applies to it.
        source: the files.
        progress: called with samples done, their total, and what is under way.
        processes: how many processes read; None: one for each processor where there is much to read.

    Raises:
        DataError: a source file is damaged, or `target` is something else than a store.
    """
    if target.exists() and not (target / manifest.FILE).is_file():
        raise DataError(
            f"{target} is in the way",
            expected="a prepared store, or nothing",
            got=f"something without {manifest.FILE}",
            todo="Move it elsewhere; a folder that is no store is never overwritten.",
        )
    folder = _building(target)
    folder.mkdir()
    try:
        _write(folder, dataset, how, source, progress, processes)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if target.exists():
        target.rename(_replaced(target))
    folder.rename(target)
    files.sync_folder(target.parent)
    shutil.rmtree(_replaced(target), ignore_errors=True)


def _write(
    folder: Path,
    dataset: Dataset,
    how: AppliedPreparation,
    source: Source,
    progress: Progress,
    processes: int | None,
) -> None:
    """The arrays of each split, then the manifest."""
    arrays: dict[str, ArrayRecord] = {}
    dataset = source.row or dataset
    if source.complete is not None:
        dataset = source.complete(dataset, progress, processes)
    for split in source.splits:
        samples = source.read(split)
        with ArrayWriter(folder / f"{split}_x.npy", len(samples.y)) as writer:
            for chunk in _chunks(samples, dataset, how, processes):
                writer.append(chunk)
                if len(chunk):
                    progress(writer.done, writer.rows, f"{dataset.name} {split}")
            arrays[f"{split}_x"] = writer.record()
        arrays[f"{split}_y"] = _saved(folder / f"{split}_y.npy", samples.y)
        if isinstance(samples, Samples) and samples.rows is not None:
            arrays[f"{split}_rows"] = _saved(folder / f"{split}_rows.npy", samples.rows)
    manifest.write(folder, _manifest(dataset, how, source, arrays))


def _saved(file: Path, array: npt.NDArray[Any]) -> ArrayRecord:
    with ArrayWriter(file, len(array)) as writer:
        writer.append(array)
        return writer.record()


def _chunks(
    samples: Split, dataset: Dataset, how: AppliedPreparation, processes: int | None
) -> Iterator[npt.NDArray[Any]]:
    """The samples of a split, chunk by chunk."""
    if isinstance(samples, Images):
        yield samples.x[:0]  # decides shape and type, even of no images
        yield from (samples.x[rows] for rows in chunks(samples.x.shape, samples.x.dtype))
        return
    make: Callable[[Item], npt.NDArray[Any]]
    if isinstance(samples, Recordings):
        make = functools.partial(frames, read=samples.read, dataset=dataset, how=how)
    else:
        make = functools.partial(_as_read, read=samples.read, how=how)
    files = {item.file if isinstance(item, Clip | Row) else item for item in samples.items if not isinstance(item, str)}
    yield from parallel_map(make, samples.items, processes or enough_processes(files, len(samples.items)))


def _as_read(
    item: Item, *, read: Callable[[Item, AppliedPreparation], npt.NDArray[Any]], how: AppliedPreparation
) -> npt.NDArray[Any]:
    return read(item, how)


def frames(
    item: Item, *, read: Callable[[Item], encoding.Events], dataset: Dataset, how: AppliedPreparation
) -> npt.NDArray[Any]:
    """One recording as event counts [1, T, polarities, H, W]."""
    assert how.T is not None
    assert how.split_by is not None
    events = read(item)
    if len(events.t) or not dataset.may_be_silent:
        encoding.check_events(events, dataset.shape, str(item))
    if dataset.may_be_silent and encoding.is_too_short(events, how.split_by, how.T):
        cut = encoding.in_last_frame(events, T=how.T, shape=dataset.shape)
    else:
        cut = _CUTTERS[how.split_by](events, T=how.T, shape=dataset.shape, name=str(item))
    if how.size is not None and how.resize is not None:
        cut = encoding.shrink(cut, how.size, how.resize)
    return cut[None]


def _manifest(dataset: Dataset, how: AppliedPreparation, source: Source, arrays: dict[str, ArrayRecord]) -> Manifest:
    content = {
        "format": manifest.FORMAT,
        "dataset": dataset.name,
        "settings": how.model_dump(),
        "shape": list(arrays["train_x"].shape[-3:]),
        "classes": list(dataset.classes),
        "scale": dataset.scale,
        "arrays": {name: each.model_dump(mode="json") for name, each in arrays.items()},
    }
    return Manifest.model_validate(
        {
            **content,
            "split": _split_description(dataset, how),
            "partial": _partial(dataset, arrays),
            "source": source.fingerprint(),
            "versions": {name: version(name) for name in ("bpsta-cli", "numpy", "scikit-learn")},
            "content_hash": manifest.hash_content(content),
        }
    )


def _split_description(dataset: Dataset, how: AppliedPreparation) -> str:
    if how.test_fraction is None:
        return dataset.split
    whose = f"{dataset.title}, " if dataset.user_supplied else ""
    seed = how.split_seed or 0
    return f"{whose}not official: {how.test_fraction:g} of the training samples held out, seed {seed}"


def _partial(dataset: Dataset, arrays: dict[str, ArrayRecord]) -> str | None:
    """How much of the whole data set this is; None if all of it."""
    train, test = (arrays[f"{split}_y"].shape[0] for split in SPLITS)
    whole_train, whole_test = dataset.counts
    if (train, test) == dataset.counts or dataset.user_supplied:
        return None
    return f"{train:,} of {whole_train:,} training and {test:,} of {whole_test:,} test samples"
