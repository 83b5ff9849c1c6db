"""Event recordings: N-MNIST as tonic lays it, DVS128 Gesture as tonic or SpikingJelly lays it."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.sources import SPLITS, Recordings, Source, SplitName, download, missing
from bpsta_cli.errors import DataError

_EVENT_BYTES = 5
_OVERFLOW_ROW = 240  # an N-MNIST "event" in this row says that the time stamp wrapped
_OVERFLOW_STEP = 2**13  # by this many microseconds
_TONIC_TIME_UNIT = 1000  # tonic's DVSGesture keeps milliseconds; microseconds here
_REFETCH = "Fetch the recording again, or leave it out."


@dataclass(frozen=True)
class _Layout:
    """How a project lays recordings out: the folder of each split, two levels above its files."""

    folders: dict[SplitName, str]
    suffix: str
    label_of: Callable[[Path], str]
    read: Callable[[Path], Events]


def n_mnist(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """N-MNIST: Train/LABEL/NNNNN.bin and Test/LABEL/NNNNN.bin in `source` or its NMNIST/.

    Without `source` it is looked for in raw/NMNIST, where tonic puts it, and downloaded if missing.

    Raises:
        DataError: no training split in `source`, or the download failed.
    """
    return _find(dataset, source, raw, "NMNIST", (_N_MNIST,))


def dvs_gesture(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """DVS128 Gesture, in `source` or its DVS128Gesture/, either's events_np/, or its DVSGesture/.

    SpikingJelly's layout is {train,test}/LABEL/*.npz, tonic's ibmGesture{Train,Test}/USER/LABEL.npy.
    Without `source` raw/ is searched in the same way, and tonic's copy downloaded if there is none.

    Raises:
        DataError: no training split in `source`, or the download failed.
    """
    return _find(dataset, source, raw, "DVSGesture", (_SPIKINGJELLY, _TONIC))


def _find(dataset: Dataset, source: Path | None, raw: Path, tonic_class: str, layouts: tuple[_Layout, ...]) -> Source:
    """The recordings in `source`, which may lack the test split, or in `raw`, downloaded if need be."""
    if source is not None:
        found = _search(source, tonic_class, layouts, ("train",))
    else:
        found = _search(raw, tonic_class, layouts, SPLITS)
        if found is None:
            download(dataset, raw / tonic_class, lambda: _fetch(tonic_class, raw))
            found = _search(raw, tonic_class, layouts, SPLITS)
    if found is None:
        names = " or ".join(f"a folder {layout.folders['train']}/" for layout in layouts)
        raise missing(dataset, source or raw, names)
    return _source(dataset, *found)


def _search(
    root: Path, tonic_class: str, layouts: tuple[_Layout, ...], splits: tuple[SplitName, ...]
) -> tuple[Path, _Layout] | None:
    """The first folder at or under `root` with a folder for each of `splits`, and its layout."""
    for inner in (".", tonic_class, "events_np", "DVS128Gesture", "DVS128Gesture/events_np"):
        for layout in layouts:
            if all((root / inner / layout.folders[split]).is_dir() for split in splits):
                return root / inner, layout
    return None


def _fetch(tonic_class: str, raw: Path) -> None:
    library: Any = importlib.import_module("tonic.datasets")
    for train in (True, False):
        getattr(library, tonic_class)(str(raw), train=train)


def _source(dataset: Dataset, root: Path, layout: _Layout) -> Source:
    """The recordings under `root`."""
    files = {split: _labelled(dataset, root / layout.folders[split], layout) for split in SPLITS}

    def read(split: SplitName) -> Recordings:
        if not files[split]:
            raise DataError(
                f"{dataset.title} has no {split} split here",
                expected=f"*.{layout.suffix} recordings in the folders of {root / layout.folders[split]}",
                got="none",
                todo="Fetch that split too, or hold out training recordings with a test fraction."
                if split == "test"
                else "Fetch that split too.",
            )
        paths, labels = zip(*files[split], strict=True)
        return Recordings(paths, np.array(labels, dtype=np.int64), layout.read)

    everything = tuple(file for split in SPLITS for file, _ in files[split])
    return Source(root, everything, read, tuple(split for split in SPLITS if files[split]))


def _labelled(dataset: Dataset, folder: Path, layout: _Layout) -> tuple[tuple[Path, int], ...]:
    """The recordings two levels under `folder` with their labels, in the order of their names."""
    found = []
    for file in sorted(folder.glob(f"*/*.{layout.suffix}")):
        label = layout.label_of(file)
        if not label.isdecimal() or int(label) >= len(dataset.classes):
            raise DataError(
                f"unknown label of {file}",
                expected=f"a whole number from 0 to {len(dataset.classes) - 1}",
                got=f"'{label}'",
                todo="Move the file out of the data set's folder.",
            )
        found.append((file, int(label)))
    return tuple(found)


def read_n_mnist(path: Path) -> Events:
    """One N-MNIST recording: five bytes an event.

    x, y, then one bit of polarity and 23 bits of time in microseconds, big-endian
    (https://www.garrickorchard.com/datasets/n-mnist). A row of 240 is no event: it says that the
    time stamps from there on wrapped.

    Raises:
        DataError: the length is no multiple of five bytes.
    """
    content = np.frombuffer(path.read_bytes(), np.uint8)
    if len(content) % _EVENT_BYTES:
        raise _damaged(path, "a multiple of 5 bytes", f"{len(content):,} bytes")
    columns = content.reshape(-1, _EVENT_BYTES).T
    x, y, p = columns[0], columns[1], columns[2] >> 7
    high, middle, low = columns[2:].astype(np.int64)
    t = (high & 0x7F) << 16 | middle << 8 | low
    wrapped = y == _OVERFLOW_ROW
    if wrapped.any():
        t += np.cumsum(wrapped) * _OVERFLOW_STEP
        x, y, t, p = x[~wrapped], y[~wrapped], t[~wrapped], p[~wrapped]
    return Events(t=t, x=x, y=y, p=p)


def read_npz(path: Path) -> Events:
    """One recording as SpikingJelly lays it: an .npz archive of t, x, y, p.

    Raises:
        DataError: no such archive, an array is missing or holds no whole numbers.
    """
    try:
        with path.open("rb") as file, np.load(file) as archive:
            columns = {key: archive[key] for key in Events._fields}
    except KeyError as error:
        raise _damaged(path, "arrays t, x, y and p", str(error).strip("\"'")) from error
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise _damaged(path, "an .npz archive of plain arrays", str(error)) from error
    for key, column in columns.items():
        if column.dtype.kind not in "bui" or column.ndim != 1:
            raise _damaged(path, f"{key} as a row of whole numbers", f"{column.dtype} {column.shape}")
    return Events(**{key: column.astype(np.int64) for key, column in columns.items()})


def read_tonic_npy(path: Path) -> Events:
    """One DVS128 Gesture recording as tonic lays it: an array [N, 4] of x, y, p, t (milliseconds).

    Raises:
        DataError: no such array.
    """
    try:
        with path.open("rb") as file:
            table = np.load(file)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, "an .npy array", str(error)) from error
    if table.ndim != 2 or table.shape[1] != len(Events._fields) or table.dtype.kind not in "buif":
        raise _damaged(path, "numbers [N, 4]: x, y, p, t", f"{table.dtype} {table.shape}")
    x, y, p, t = table.astype(np.int64).T
    return Events(t=t * _TONIC_TIME_UNIT, x=x, y=y, p=p)


def _damaged(path: Path, expected: str, got: str) -> DataError:
    return DataError(f"damaged recording {path}", expected=expected, got=got, todo=_REFETCH)


def _label_of_folder(file: Path) -> str:
    return file.parent.name


def _label_of_file(file: Path) -> str:
    return file.stem


_N_MNIST = _Layout({"train": "Train", "test": "Test"}, "bin", _label_of_folder, read_n_mnist)
_SPIKINGJELLY = _Layout({"train": "train", "test": "test"}, "npz", _label_of_folder, read_npz)
_TONIC = _Layout({"train": "ibmGestureTrain", "test": "ibmGestureTest"}, "npy", _label_of_file, read_tonic_npy)
