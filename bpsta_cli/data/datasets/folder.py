"""The user's own data: a sub-folder for each class, of images, event recordings, sound or series."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset, Kind
from bpsta_cli.data.datasets import series_tables
from bpsta_cli.data.encoding import Events, check_events
from bpsta_cli.data.formats import audio, series
from bpsta_cli.data.formats.aedat import read_aedat
from bpsta_cli.data.formats.audio import log_mel, read_wav
from bpsta_cli.data.formats.event_files import read_n_mnist, read_npy, read_npz
from bpsta_cli.data.formats.images import check_like, formats, read_image
from bpsta_cli.data.parallel import enough_processes, parallel_map
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Progress, Recordings, Samples, Source, SplitName, sorted_classes
from bpsta_cli.errors import DataError

EVENT_READERS: dict[str, Callable[[Path], Events]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".bin": read_n_mnist,
    ".aedat": read_aedat,
}
_LARGEST_SIDE = 2048
"""In pixels. No event camera has more, but a damaged file may name any number."""
FILES = "images, recordings (.npz, .npy, .bin, .aedat), .wav, or series (.npz, .csv)"
"""What is read here."""
_NOT_DATA = ("Thumbs.db", "desktop.ini")
FULL_SCALE: dict[Kind, int] = {"image": 255, "events": 1, "speech": audio.LEVELS, "series": series.LEVELS}
_EVENT_BATCH = 16
"""Batch size for event recordings, which take T frames each; the row's recipe is for images and sound."""
_SERIES_NETWORK = "128FC-64FC-10Voting"
"""The structure for series, whose channels are no picture."""


@dataclass(frozen=True)
class _Listing:
    """What is in the folder: the classes' names, the kind of the files, each split's files with their labels.

    Paths are plain text here: to make a `Path` of each of many files would take longer than to list them.
    """

    classes: tuple[str, ...]
    kind: Kind
    files: dict[SplitName, list[tuple[str, int]]]


def describe(row: Dataset, source: Path | None) -> Dataset:
    """The catalogue's row, completed from the names in the folder: classes, kind, split and recipe.

    Raises:
        DataError: no folder, or one that is not laid out as a data set.
    """
    source = _given(source)
    tables = series_tables.find(source)
    if tables:
        return series_tables.describe(row, source, tables, _SERIES_NETWORK)
    listing = _list(source)
    name = source.resolve().name
    split = "its train/ and test/ folders" if listing.files["test"] else "no test/ folder"
    changes: dict[Kind, dict[str, Any]] = {
        "events": {"batch_size": _EVENT_BATCH},
        "series": {"network": _SERIES_NETWORK},
    }
    recipe = replace(row.recipe, **changes.get(listing.kind, {}))
    return replace(
        row,
        title=name,
        kind=listing.kind,
        classes=listing.classes,
        split=f"{name}: {split}",
        full_scale=FULL_SCALE[listing.kind],
        recipe=recipe,
    )


def folder(dataset: Dataset, source: Path | None, _raw: Path) -> Source:
    """The files in `source`: CLASS/FILE, or train/CLASS/FILE and test/CLASS/FILE, at any depth below CLASS; or a table.

    Classes are numbered in the order of their names, or by value where all names are numbers. Hidden files
    are left out. The files may be images, recordings (.npz, .npy, .bin, .aedat), .wav or series (.npz, .csv), the same
    kind in every class. Series may also be the lines of one table (see `series_tables`).

    Raises:
        DataError: no folder, or one that is not laid out so.
    """
    source = _given(source)
    tables = series_tables.find(source)
    if tables:
        return series_tables.source_of(dataset, source, tables)
    listing = _list(source)

    def read(split: SplitName) -> Recordings | Samples:
        if not listing.files[split]:
            raise DataError(
                f"{dataset.title} has no {split} split",
                expected="a folder test/ beside train/, or --test-fraction",
                got="neither",
                todo="Name a share of each class to test on, such as --test-fraction 0.2.",
            )
        files = tuple(Path(file) for file, _ in listing.files[split])
        y = np.array([label for _, label in listing.files[split]], dtype=np.int64)
        if listing.kind == "events":
            return Recordings(files, y, _read_events)
        if listing.kind == "speech":
            return Samples(files, y, read_sound)
        first = Path(listing.files["train"][0][0])
        return Samples(files, y, partial(_read_series_like if listing.kind == "series" else _read_like, first=first))

    every = tuple(file for split in SPLITS for file, _ in listing.files[split])
    available = tuple(split for split in SPLITS if listing.files[split])
    complete = partial(_measure, every) if listing.kind == "events" else None
    return Source(source, every, read, available, edited=True, complete=complete)


def _given(source: Path | None) -> Path:
    if source is None or not source.is_dir():
        raise DataError(
            "no folder to read",
            expected="--source DIR, a folder that exists",
            got="no --source" if source is None else str(source),
            todo="Name the folder that holds a sub-folder for each class, or train/ and test/ with these in them.",
        )
    return source


def _list(source: Path) -> _Listing:
    roots = _split_roots(source)
    classes = sorted_classes(_folders(roots["train"]))
    if len(classes) < 2:
        raise _misplaced(roots["train"], "a sub-folder for each of two or more classes", f"{len(classes)}")
    files: dict[SplitName, list[tuple[str, int]]] = {"train": [], "test": []}
    for split, root in roots.items():
        others = set(_folders(root)) ^ set(classes)
        if others:
            raise _misplaced(root, f"the classes of {roots['train']}", f"a difference in {', '.join(sorted(others))}")
        for label, name in enumerate(classes):
            found = sorted(_files(root / name))
            if not found:
                raise _misplaced(root / name, "files of that class", "none")
            files[split] += [(file, label) for file in found]
    return _Listing(classes, _kind_of([file for split in SPLITS for file, _ in files[split]]), files)


def _split_roots(source: Path) -> dict[SplitName, Path]:
    """The folder of each split; `source` itself where there are no folders train/ and test/ of folders."""
    tops = _folders(source)
    splits: dict[SplitName, Path] = {
        split: source / top for split in SPLITS for top in tops if top.lower() == split and _folders(source / top)
    }
    if not splits:
        return {"train": source}
    beside = [top for top in tops if source / top not in splits.values()]
    if "train" not in splits or beside:
        got = f"{', '.join(beside)} beside {splits.popitem()[1].name}" if beside else "test alone"
        raise _misplaced(source, "train/ and test/ alone, or a folder for each class", got)
    return splits


def _folders(root: Path) -> list[str]:
    with os.scandir(root) as entries:
        return [entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")]


def _files(root: Path) -> Iterator[str]:
    for folder_name, _, names in os.walk(root):
        for name in names:
            if not name.startswith(".") and name not in _NOT_DATA:
                yield f"{folder_name}{os.sep}{name}"


def _kind_of(files: list[str]) -> Kind:
    """What all the files are, by their endings."""
    endings: dict[str, str] = {}
    for file in files:
        endings.setdefault(file[file.rfind(".") :].lower(), file)
    first: dict[Kind, str] = {}
    for file in endings.values():
        kind = kind_of(Path(file))
        if kind is None:
            raise _misplaced(Path(file), FILES, "another file")
        first.setdefault(kind, file)
    if len(first) > 1:
        raise _misplaced(Path(files[0]).parent, "files of one kind in all classes", " and ".join(first.values()))
    return next(iter(first))


def kind_of(file: Path) -> Kind | None:
    """What a file is by its ending, a .npz archive by its arrays too; None: nothing that is read here."""
    suffix = file.suffix.lower()
    if suffix in series.SUFFIXES and series.is_series(file):
        return "series"
    if suffix in EVENT_READERS:
        return "events"
    if suffix == ".wav":
        return "speech"
    return "image" if suffix in formats() else None


def _misplaced(where: Path, expected: str, got: str) -> DataError:
    todo = "One sub-folder for each class, in it files of one kind: images, recordings, .wav, or series."
    return DataError(f"{where} is not laid out as a data set", expected=expected, got=got, todo=todo)


def _read_events(path: Path) -> Events:
    return EVENT_READERS[path.suffix.lower()](path)


def _read_like(path: Path, preparation: AppliedPreparation, *, first: Path) -> npt.NDArray[np.uint8]:
    """One image [1, C, H, W], of the shape of the data set's first."""
    how = preparation.size, preparation.resize, preparation.channels
    image = read_image(path, *how)
    check_like(image, path, _shape(first, *how), first)
    return image[None]


@lru_cache(maxsize=8)
def _shape(first: Path, size: int | None, resize: str | None, channels: str | None) -> tuple[int, ...]:
    return read_image(first, size, resize, channels).shape


def read_sound(path: Path, preparation: AppliedPreparation, *, rate: int | None = None) -> npt.NDArray[np.uint8]:
    """The log-mel features [1, T, 1, mels, frames] of one sound, T steps along all of it, however long it is.

    Raises:
        DataError: unreadable, of another sample rate than `rate` in Hz (None: any), or too short for T steps.
    """
    assert preparation.T is not None
    samples, hertz = read_wav(path, rate)
    try:
        return log_mel(samples, hertz, T=preparation.T, seconds=len(samples) / hertz)[None]
    except DataError as short:
        raise DataError(f"{short.problem}: {path}", expected=short.expected, got=short.got, todo=short.todo) from short


def read_steps(path: Path, preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """The T steps [1, T, 1, channels, 1] of one series, however long it is."""
    assert preparation.T is not None
    return series.steps(series.read_series(path), preparation.T, str(path))[None]


def _read_series_like(path: Path, preparation: AppliedPreparation, *, first: Path) -> npt.NDArray[np.uint8]:
    """One series, of as many channels as the data set's first."""
    found, wanted = read_steps(path, preparation), _channels(first)
    if found.shape[3] != wanted:
        raise DataError(
            "series of different widths",
            expected=f"{wanted:,} channels, as {first.name}",
            got=f"{found.shape[3]:,} in {path}",
            todo="Bring all to the same channels.",
        )
    return found


@lru_cache(maxsize=8)
def _channels(first: Path) -> int:
    return int(series.read_series(first).shape[1])


def _measure(names: tuple[str, ...], dataset: Dataset, progress: Progress, processes: int | None) -> Dataset:
    """The row with (2, H, W) of the sensor: as many rows and columns as the events of all recordings take.

    Raises:
        DataError: a damaged recording, or more pixels than a camera has.
    """
    files = [Path(name) for name in names]
    sides, done = np.ones(2, dtype=np.int64), 0
    for chunk in parallel_map(_sides, files, processes or enough_processes(files, len(files))):
        sides = np.maximum(sides, chunk.max(axis=0))
        done += len(chunk)
        progress(done, len(files), "looking how large the frames must be")
    return replace(dataset, shape=(2, int(sides[0]), int(sides[1])))


def _sides(path: Path) -> npt.NDArray[np.int64]:
    """Rows and columns [1, 2] that a recording's events take."""
    events = _read_events(path)
    check_events(events, (2, _LARGEST_SIDE, _LARGEST_SIDE), str(path))
    return np.array([[int(events.y.max()) + 1, int(events.x.max()) + 1]])
