"""The Free Spoken Digit Dataset: recordings/DIGIT_SPEAKER_INDEX.wav, mono, 8 kHz."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.datasets.folder import read_sound
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Samples, Source, SplitName, missing
from bpsta_cli.errors import DataError

RATE = 8_000
_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
_NAME = re.compile(rf"([0-9])_(?:{'|'.join(_SPEAKERS)})_([0-9]|[1-4][0-9])\.wav")
_TESTED = 5
"""Recordings of each speaker and digit that test, from number 0; the others up to 49 train."""


def fsdd(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """The recordings in `source` or its recordings/; without `source`, in raw/FSDD. Nothing is downloaded.

    A copy with fewer recordings is read too, if each split has some of every digit. Samples are in the order of digits,
    then of file names: as the loader of `folder` has them if the files lie in train/DIGIT/ and test/DIGIT/.

    Raises:
        DataError: no recordings, one whose name is none of the data set's, or a split without a digit.
    """
    root = source or raw / "FSDD"
    folder = next((each for each in (root / "recordings", root) if any(each.glob("[!.]*.wav"))), None)
    if folder is None:
        raise missing(dataset, root, "DIGIT_SPEAKER_INDEX.wav, in it or in recordings/")
    files = _files(folder)
    every = tuple(file for split in SPLITS for file, _ in files[split])

    def read(split: SplitName) -> Samples:
        y = np.array([digit for _, digit in files[split]], dtype=np.int64)
        return Samples(tuple(file for file, _ in files[split]), y, read_recording)

    return Source(folder, every, read)


def _files(folder: Path) -> dict[SplitName, list[tuple[Path, int]]]:
    """The files of each split with their digits."""
    files: dict[SplitName, list[tuple[Path, int]]] = {"train": [], "test": []}
    for file in sorted(folder.glob("[!.]*.wav")):
        name = _NAME.fullmatch(file.name)
        if name is None:
            raise DataError(
                "a sound that is none of the Free Spoken Digit Dataset's",
                expected=f"DIGIT_SPEAKER_INDEX.wav with an index from 0 to 49, of {', '.join(_SPEAKERS)}",
                got=str(file),
                todo="Leave it out; sounds of your own are a data set of the kind `folder`.",
            )
        split: SplitName = "test" if int(name[2]) < _TESTED else "train"
        files[split].append((file, int(name[1])))
    for split, found in files.items():
        absent = sorted(set(range(10)) - {digit for _, digit in found})
        if absent:
            raise DataError(
                f"no {split} recordings of the digit {absent[0]} in {folder}",
                expected=f"some of every digit: {_TESTED} to 49 train, those before test",
                got=f"none of {', '.join(map(str, absent))}",
                todo="Fetch the copy again.",
            )
    return files


def read_recording(file: Path, preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """The log-mel features [1, T, 1, mels, frames] of a recording, T steps along all of it.

    Raises:
        DataError: unreadable (see `read_wav`), not 8 kHz, or too short for T steps.
    """
    return read_sound(file, preparation, rate=RATE)
