"""Writing a prepared store: piece by piece into a hidden folder, which then takes the store's name."""

from __future__ import annotations

import contextlib
import fcntl
import math
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data import encoding, manifest, speech
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.manifest import ArrayRecord, Manifest, chunks
from bpsta_cli.data.settings import Settings
from bpsta_cli.data.sources import SPLITS, Clips, Images, Recordings, Source
from bpsta_cli.errors import DataError

Progress = Callable[[int, int, str], None]
_CUTTERS = {"number": encoding.split_by_number, "time": encoding.split_by_time}


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the one lock for building `target`; another process that wants it waits.

    The system drops the lock with its process, so what lies half-built while we hold it belongs to
    nobody and is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / f".{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for leftover in (_building(target), _replaced(target)):
            shutil.rmtree(leftover, ignore_errors=True)
        yield


def _building(target: Path) -> Path:
    return target.parent / f".{target.name}.building"


def _replaced(target: Path) -> Path:
    return target.parent / f".{target.name}.replaced"


def build(target: Path, dataset: Dataset, settings: Settings, source: Source, progress: Progress) -> None:
    """Write the store `target`; the caller holds its lock. Replaces a store, never anything else.

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
        _write(folder, dataset, settings, source, progress)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if target.exists():
        target.rename(_replaced(target))
    folder.rename(target)
    shutil.rmtree(_replaced(target), ignore_errors=True)


def _write(folder: Path, dataset: Dataset, settings: Settings, source: Source, progress: Progress) -> None:
    """The arrays of each split, then the manifest."""
    dataset = source.row or dataset
    arrays: dict[str, ArrayRecord] = {}
    for split in source.splits:
        samples = source.read(split)
        file = folder / f"{split}_x.npy"

        def report(done: int, total: int, text: str = f"{dataset.name} {split}") -> None:
            progress(done, total, text)

        if isinstance(samples, Images):
            x = _write_images(file, samples, report)
        else:
            x = _write_frames(file, samples, dataset, settings, report)
        arrays[f"{split}_x"] = manifest.record(file, x)
        arrays[f"{split}_y"] = _saved(folder / f"{split}_y.npy", samples.y)
        if isinstance(samples, Clips) and samples.rows is not None:
            arrays[f"{split}_rows"] = _saved(folder / f"{split}_rows.npy", samples.rows)
    text = _manifest(dataset, settings, source, arrays).model_dump_json(indent=2)
    (folder / manifest.FILE).write_text(text + "\n", encoding="utf-8")


def _saved(file: Path, array: npt.NDArray[Any]) -> ArrayRecord:
    np.save(file, array)
    return manifest.record(file, array)


def _write_images(file: Path, images: Images, report: Callable[[int, int], None]) -> npt.NDArray[Any]:
    x = _allocated(file, images.x.dtype, images.x.shape)
    for rows in chunks(x.shape, x.dtype):
        x[rows] = images.x[rows]
        report(rows.stop, len(x))
    return x


def _write_frames(
    file: Path,
    recordings: Recordings | Clips,
    dataset: Dataset,
    settings: Settings,
    report: Callable[[int, int], None],
) -> npt.NDArray[Any]:
    """Frames of each recording, in the smallest integers that hold the largest count of the split."""
    x: npt.NDArray[Any] | None = None
    for row, recording in enumerate(recordings.files):
        frames = _frames(recording, recordings, dataset, settings)
        if x is None:
            shape = (len(recordings.files), *frames.shape)
            x = _allocated(file, frames.dtype, shape)
        elif frames.dtype.itemsize > x.dtype.itemsize:
            x = _widened(file, x, frames.dtype)
        x[row] = frames
        report(row + 1, len(x))
    assert x is not None  # a source refuses a split without recordings
    return x


def _frames(recording: Path, recordings: Recordings | Clips, dataset: Dataset, settings: Settings) -> npt.NDArray[Any]:
    """One recording as event counts, or one clip as log-mel features: [T, C, H, W]."""
    assert settings.T is not None
    if isinstance(recordings, Clips):
        samples, rate = recordings.read(recording)
        return speech.log_mel(samples, rate, T=settings.T)
    assert settings.split_by is not None
    events = recordings.read(recording)
    encoding.check_events(events, dataset.shape, str(recording))
    cut = _CUTTERS[settings.split_by]
    frames = cut(events, T=settings.T, shape=dataset.shape, name=str(recording))
    if settings.size is None or settings.resize is None:
        return frames
    return encoding.shrink(frames, settings.size, settings.resize)


def _allocated(file: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """An array in a new file. Room is checked first: a memory map on a full disk ends the process.

    Raises:
        DataError: the disk has no room for it.
    """
    needed, free = math.prod(shape) * dtype.itemsize, shutil.disk_usage(file.parent).free
    if needed > free:
        raise DataError(
            f"no room to write {file.parent.parent}",
            expected=f"{needed:,} bytes",
            got=f"{free:,}",
            todo="Free some space, lower T, or choose another data folder.",
        )
    array: npt.NDArray[Any] = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    return array


def _widened(file: Path, x: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """`x` copied into wider integers, under the same file name."""
    wider_file = file.with_suffix(".wider")
    wider = _allocated(wider_file, dtype, x.shape)
    for rows in chunks(x.shape, dtype):
        wider[rows] = x[rows]
    wider_file.replace(file)
    return wider


def _manifest(dataset: Dataset, settings: Settings, source: Source, arrays: dict[str, ArrayRecord]) -> Manifest:
    channels, height, width = dataset.shape
    size = settings.size
    held = settings.test_fraction
    content = {
        "format": manifest.FORMAT,
        "dataset": dataset.name,
        "settings": settings.model_dump(),
        "shape": [channels, size or height, size or width],
        "classes": list(dataset.classes),
        "scale": dataset.scale,
        "arrays": {name: each.model_dump(mode="json") for name, each in arrays.items()},
    }
    return Manifest.model_validate(
        {
            **content,
            "split": dataset.split if held is None else f"not official: {held:g} of the training recordings",
            "partial": _partial(dataset, arrays),
            "source": source.fingerprint(),
            "versions": {name: version(name) for name in ("bpsta-cli", "numpy", "scikit-learn")},
            "content_hash": manifest.hash_content(content),
        }
    )


def _partial(dataset: Dataset, arrays: dict[str, ArrayRecord]) -> str | None:
    """How much of the whole data set this is; None if all of it."""
    train, test = (arrays[f"{split}_y"].shape[0] for split in SPLITS)
    if (train, test) == dataset.counts:
        return None
    whole_train, whole_test = dataset.counts
    return f"{train:,} of {whole_train:,} training and {test:,} of {whole_test:,} test samples"
