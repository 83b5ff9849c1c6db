"""Event recordings in the published directory layout, in tonic's and in SpikingJelly's."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bpsta_cli import reading
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.datasets.event_folders import Layout, Listing, find
from bpsta_cli.data.datasets.folder import EVENT_READERS
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.formats.aedat import read_aedat, read_clip
from bpsta_cli.data.formats.event_files import read_n_mnist, read_npz, read_tonic_npy
from bpsta_cli.data.sources import SPLITS, Clip, Item, Source, SplitName, damaged
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

_FIGSHARE = "https://ndownloader.figshare.com/files/"
_FIGSHARE_FILES = {
    "airplane.zip": "7712788",
    "automobile.zip": "7712791",
    "bird.zip": "7712794",
    "cat.zip": "7712812",
    "deer.zip": "7712815",
    "dog.zip": "7712818",
    "frog.zip": "7712842",
    "horse.zip": "7712851",
    "ship.zip": "7712836",
    "truck.zip": "7712839",
}
_CIFAR_TRAINING = 900
"""Recordings of each class of DVS-CIFAR10 that train, from number 0: 900 of 1,000."""


def n_mnist(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """N-MNIST: Train/LABEL/NNNNN.bin and Test/LABEL/NNNNN.bin in `source` or its NMNIST/.

    Without `source` it is looked for in raw/NMNIST, where tonic puts it, and downloaded if missing.

    Raises:
        DataError: no training split in `source`, or the download failed.
    """
    return find(dataset, source, raw, "NMNIST", (_N_MNIST,), lambda: _fetch_from_tonic("NMNIST", raw))


def dvs_gesture(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """DVS128 Gesture, in `source` or its DVS128Gesture/, either's events_np/, DvsGesture/, or its DVSGesture/.

    IBM's layout (DvsGesture.tar.gz, unpacked) is *.aedat with *_labels.csv and trials_to_{train,test}.txt,
    SpikingJelly's {train,test}/LABEL/*.npz, tonic's ibmGesture{Train,Test}/USER/LABEL.npy. Without
    `source` raw/ is searched in the same way, and tonic's copy downloaded if there is none.

    Raises:
        DataError: no training split in `source`, or the download failed.
    """
    layouts = (_SPIKINGJELLY, _IBM, _TONIC)
    return find(dataset, source, raw, "DVSGesture", layouts, lambda: _fetch_from_tonic("DVSGesture", raw))


def dvs_cifar10(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """DVS-CIFAR10, in `source`, its CIFAR10DVS/, events_np/ or extract/: CLASS/cifar10_CLASS_N.aedat or .npz.

    AEDAT 2.0 as published, or SpikingJelly's .npz. Number N < 900 trains. Without `source` raw/ is searched
    in the same way, and the authors' archives are downloaded if there is nothing.

    Raises:
        DataError: no such folders in `source`, tonic's AEDAT 4 in them, or the download failed.
    """
    folders = tuple(f"{name}/" for name in dataset.classes)
    layout = Layout({"train": folders, "test": folders}, _dvs_cifar10, _read_npz_or_aedat)
    return find(dataset, source, raw, "CIFAR10DVS", (layout,), lambda: _fetch_archives(dataset, raw))


def reader_of(dataset: Dataset, suffix: str) -> Callable[[Any], Events]:
    """What reads one recording by itself, of a data set or of the user's own: by its ending (".npy").

    The .npy files of DVS128 Gesture are tonic's, in milliseconds.
    """
    tonics = suffix == ".npy" and dataset.name == "dvs-gesture"
    return read_tonic_npy if tonics else EVENT_READERS[suffix]


def _fetch_from_tonic(name: str, raw: Path) -> None:
    library: Any = importlib.import_module("tonic.datasets")
    for train in (True, False):
        getattr(library, name)(str(raw), train=train)


def _fetch_archives(dataset: Dataset, raw: Path) -> None:
    library: Any = importlib.import_module("torchvision.datasets.utils")
    for name, md5 in dataset.checksums.items():
        url = _FIGSHARE + _FIGSHARE_FILES[name]
        library.download_and_extract_archive(url, str(raw / "CIFAR10DVS"), filename=name, md5=md5)


def _in_folders(folders: dict[SplitName, str], suffix: str, label_of: Callable[[Path], str]) -> Any:
    """Lists the recordings two levels under each split's folder, in the order of their names."""

    def listing(dataset: Dataset, root: Path) -> Listing:
        return {
            split: [
                (file, _label(label_of(file), file, len(dataset.classes)))
                for file in sorted((root / folders[split]).glob(f"*/*.{suffix}"))
            ]
            for split in SPLITS
        }

    return listing


def _label(text: str, file: Path, classes: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) >= classes:
        raise DataError(
            f"unknown label of {file}",
            expected=f"a whole number from 0 to {classes - 1}",
            got=f"'{text}'",
            todo="Move the file out of the data set's folder.",
        )
    return int(text)


def _ibm_trials(dataset: Dataset, root: Path) -> Listing:
    """The gestures of each trial that trials_to_{train,test}.txt names."""
    listing: Listing = {"train": [], "test": []}
    for split in SPLITS:
        trials = root / f"trials_to_{split}.txt"
        if trials.is_file():
            for name in _text(trials).split():
                if not (root / name).is_file():
                    raise damaged(trials, f"the recordings that it names, as {name}", "no such file")
                listing[split] += _gestures(root / name, len(dataset.classes))
    return listing


def _gestures(recording: Path, classes: int) -> list[tuple[Item, int]]:
    """The clips of one trial: RECORDING_labels.csv has a line class,startTime_usec,endTime_usec for each.

    Classes count from 1. A clip that ends after the next one's start (user22_led has one) is taken as it is
    written, as SpikingJelly does.
    """
    table = recording.with_name(f"{recording.stem}_labels.csv")
    if not table.is_file():
        raise damaged(recording, f"{table.name} beside it", "no such file")
    clips: list[tuple[Item, int]] = []
    for line in _text(table).splitlines()[1:]:
        row = line.split(",")
        numbers = [int(cell) for cell in row if re.fullmatch(r"\s*[0-9]{1,18}\s*", cell)]
        if len(row) != 3 or len(numbers) != 3 or not 1 <= numbers[0] <= classes or numbers[1] >= numbers[2]:
            raise damaged(table, f"class (1 to {classes}), start and a later end", line)
        clips.append((Clip(recording, numbers[1], numbers[2]), numbers[0] - 1))
    return clips


def _text(file: Path) -> str:
    try:
        return reading.text(file)
    except UnreadableError as refused:
        raise damaged(file, refused.expected, refused.got) from None


def _dvs_cifar10(dataset: Dataset, root: Path) -> Listing:
    """The recordings of each class, in the order of their numbers, split by these."""
    listing: Listing = {"train": [], "test": []}
    for label, name in enumerate(dataset.classes):
        numbered = []
        for file in (root / name).iterdir() if (root / name).is_dir() else ():
            if file.suffix == ".aedat4":
                raise damaged(file, "AEDAT 2.0 or .npz", "AEDAT 4, tonic's conversion, which is not read")
            if file.suffix not in (".aedat", ".npz"):
                continue
            digits = re.search(r"\d+$", file.stem)
            if digits is None:
                raise damaged(file, "a name that ends in the recording's number", file.name)
            numbered.append((int(digits[0]), file))
        for number, file in sorted(numbered):
            listing["train" if number < _CIFAR_TRAINING else "test"].append((file, label))
    return listing


def _read_npz_or_aedat(path: Path) -> Events:
    return read_npz(path) if path.suffix == ".npz" else read_aedat(path)


_TRAIN_TEST: dict[SplitName, str] = {"train": "train", "test": "test"}
_N_MNIST_FOLDERS: dict[SplitName, str] = {"train": "Train", "test": "Test"}
_TONIC_FOLDERS: dict[SplitName, str] = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}


def _folders(folders: dict[SplitName, str], suffix: str, label_of: Callable[[Path], str], read: Any) -> Layout:
    marks: dict[SplitName, tuple[str, ...]] = {split: (f"{name}/",) for split, name in folders.items()}
    return Layout(marks, _in_folders(folders, suffix, label_of), read)


_N_MNIST = _folders(_N_MNIST_FOLDERS, "bin", lambda file: file.parent.name, read_n_mnist)
_SPIKINGJELLY = _folders(_TRAIN_TEST, "npz", lambda file: file.parent.name, read_npz)
_TONIC = _folders(_TONIC_FOLDERS, "npy", lambda file: file.stem, read_tonic_npy)
_IBM = Layout(
    {"train": ("trials_to_train.txt",), "test": ("trials_to_test.txt",)},
    _ibm_trials,
    read_clip,
    extra=("trials_to_*.txt", "*_labels.csv"),
)
