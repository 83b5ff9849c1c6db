"""The Heidelberg spiking data sets, SHD and SSC: words as the spikes of 700 units of a model of the inner ear.

Each part is an HDF5 file of spikes/times (seconds), spikes/units (0 to 699), labels and extra/keys, the labels' names
(Cramer et al. 2020, doi:10.1109/TNNLS.2020.3044364).
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.sources import SPLITS, Recordings, Row, Source, SplitName, damaged, missing
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError, hdf5
from bpsta_cli.reading.hdf5 import Piece, Ragged

_TIMES, _UNITS, _LABELS, _KEYS = "spikes/times", "spikes/units", "labels", "extra/keys"
_SHD: dict[SplitName, str] = {"train": "shd_train.h5", "test": "shd_test.h5"}
_SSC: dict[SplitName, str] = {"train": "ssc_train.h5", "test": "ssc_test.h5", "validation": "ssc_valid.h5"}
_MICROSECONDS = 1_000_000
_LONGEST_SECONDS = 3600
"""Of a recording: those of the data sets last about one."""
_ONE_OF_MANY = re.compile(r"(.+\.h5):([0-9]{1,9})")


def shd(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """Spiking Heidelberg Digits: shd_train.h5 and shd_test.h5 in `source`. See `_find`."""
    return _find(dataset, source, raw, "SHD", _SHD, [{"train": True}, {"train": False}])


def ssc(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """Spiking Speech Commands: ssc_train.h5, ssc_test.h5 and ssc_valid.h5 in `source`. See `_find`."""
    return _find(dataset, source, raw, "SSC", _SSC, [{"split": "train"}, {"split": "test"}, {"split": "valid"}])


def _find(
    dataset: Dataset,
    source: Path | None,
    raw: Path,
    class_name: str,
    names: Mapping[SplitName, str],
    calls: Sequence[dict[str, Any]],
) -> Source:
    """The files of the parts, in `source`, its CLASS_NAME/, either's extract/ (SpikingJelly's) or hsd/ (older tonic's).

    Without `source` they are looked for in raw/ in the same way, and downloaded by tonic if one is missing. A `source`
    may lack all parts but the training one.

    Raises:
        DataError: no such file in `source`, one that is no such HDF5 file, or the download failed.
    """
    if source is None:
        folder = raw / class_name
        remove_partial_downloads(dataset, folder)
        root = _search(raw, class_name, tuple(names.values()))
        if root is None:
            download(
                dataset, folder, lambda: _fetch(class_name, raw, calls), [folder / name for name in names.values()]
            )
            root = _search(raw, class_name, tuple(names.values()))
    else:
        root = _search(source, class_name, (names["train"],))
    if root is None:
        raise missing(dataset, source or raw, " and ".join(names.values()))
    here = root
    files = {split: here / name for split, name in names.items() if (here / name).is_file()}

    def read(split: SplitName) -> Recordings:
        if split not in files:
            raise DataError(
                f"{dataset.title} has no {split} split here",
                expected=str(here / names[split]),
                got="no such file",
                todo="Fetch it too, or hold out training recordings with --test-fraction 0.2.",
            )
        return _recordings(dataset, files[split])

    available: tuple[SplitName, ...] = tuple(split for split in (*SPLITS, "validation") if split in files)
    return Source(here, tuple(files.values()), read, available)


def _search(root: Path, class_name: str, names: tuple[str, ...]) -> Path | None:
    """The first folder at or under `root` that holds all these files."""
    insides = (".", class_name, "extract", f"{class_name}/extract", "hsd", f"hsd/{class_name}")
    folders = (root / each for each in insides)
    return next((each for each in folders if all((each / name).is_file() for name in names)), None)


def _fetch(class_name: str, raw: Path, calls: Sequence[dict[str, Any]]) -> None:
    library: Any = getattr(importlib.import_module("tonic.datasets"), class_name)
    for call in calls:
        library(str(raw), **call)


def _recordings(dataset: Dataset, file: Path) -> Recordings:
    """The recordings of one file; the spikes themselves are read later, one recording at a time."""
    try:
        with hdf5.structure(file) as found:
            labels, keys = found.plain(_LABELS), found.texts(_KEYS)
            times, units = found.ragged(_TIMES), found.ragged(_UNITS)
    except UnreadableError as refused:
        raise damaged(file, refused.expected, refused.got) from None
    rows = _rows(file, times, units)
    if len(labels) != len(rows):
        raise damaged(file, f"{len(rows):,} {_LABELS}, one for each recording", f"{len(labels):,}")
    return Recordings(rows, _numbers(dataset, file, labels, keys), read)


def _rows(file: Path, times: Ragged, units: Ragged) -> tuple[Row, ...]:
    if len(times.counts) == 0:
        raise damaged(file, "at least one recording", "none")
    if not np.array_equal(times.counts, units.counts):
        raise damaged(file, f"as many {_UNITS} as {_TIMES} in each recording", "other numbers")
    if units.dtype.kind not in "iu":
        raise damaged(file, f"whole numbers as {_UNITS}", str(units.dtype))
    forms = times.dtype.str, units.dtype.str
    places = zip(times.starts.tolist(), units.starts.tolist(), times.counts.tolist(), strict=True)
    return tuple(
        Row(file, number, (Piece(forms[0], of_times, count), Piece(forms[1], of_units, count)))
        for number, (of_times, of_units, count) in enumerate(places)
    )


def _numbers(dataset: Dataset, file: Path, labels: npt.NDArray[Any], keys: Sequence[str]) -> npt.NDArray[np.int64]:
    """Each label as the number of its name among the data set's classes, in whatever order the file names them."""
    place = {_plain(name): number for number, name in enumerate(dataset.classes)}
    unknown = [key for key in keys if _plain(key) not in place]
    if unknown or len(set(keys)) != len(keys):
        got = f"'{unknown[0][:40]}'" if unknown else "a name twice"
        raise damaged(file, f"{dataset.title}'s words as {_KEYS}: {', '.join(dataset.classes[:3])}, ...", got)
    whole = labels.dtype.kind in "iu"
    if not whole or labels.min() < 0 or labels.max() >= len(keys):
        got = f"{labels.dtype}{f' from {labels.min()} to {labels.max()}' if whole else ''}"
        raise damaged(file, f"whole {_LABELS} from 0 to {len(keys) - 1}, the numbers of {_KEYS}", got)
    numbers = np.array([place[_plain(key)] for key in keys], dtype=np.int64)
    return numbers[labels.astype(np.int64)]


def _plain(word: str) -> str:
    return word.casefold().replace("ü", "ue")


def read(row: Row) -> Events:
    """The spikes of one recording in order of time: t in microseconds, x the units, y and p 0.

    Raises:
        DataError: times that are no numbers from 0 on, or a file that was changed meanwhile.
    """
    try:
        times, units = (hdf5.piece(row.file, place) for place in row.places)
    except UnreadableError as refused:
        raise damaged(row.file, refused.expected, refused.got) from None
    seconds = times.astype(np.float64)
    if not (np.isfinite(seconds) & (seconds >= 0) & (seconds <= _LONGEST_SECONDS)).all():
        low, high = seconds.min(), seconds.max()
        raise DataError(
            f"unusable recording {row}",
            expected=f"{_TIMES} from 0 to {_LONGEST_SECONDS} seconds",
            got=f"{low:g} to {high:g}",
            todo="Fetch the file again.",
        )
    t = np.rint(seconds * _MICROSECONDS).astype(np.int64)
    order = np.argsort(t, kind="stable")
    nothing = np.zeros(len(t), dtype=np.int64)
    return Events(t=t[order], x=units.astype(np.int64)[order], y=nothing, p=nothing)


def read_single(path: Path) -> Events:
    """The recording that `FILE.h5:NUMBER` names, numbered from 0; of a file of one, `FILE.h5` is enough.

    Raises:
        DataError: no such file or recording, or a file of several without a number.
    """
    named = _ONE_OF_MANY.fullmatch(str(path))
    file, number = (path, 0) if named is None else (Path(named[1]), int(named[2]))
    try:
        with hdf5.structure(file) as found:
            times, units = found.ragged(_TIMES), found.ragged(_UNITS)
    except UnreadableError as refused:
        raise damaged(file, refused.expected, refused.got) from None
    rows = _rows(file, times, units)
    if number >= len(rows) or (named is None and len(rows) > 1):
        raise DataError(
            f"no single recording in {path}",
            expected=f"FILE.h5:NUMBER with a number from 0 to {len(rows) - 1}",
            got=f"a file of {len(rows):,} recordings" if named is None else f"number {number}",
            todo=f"Name one: {file}:0",
        )
    return read(rows[number])
