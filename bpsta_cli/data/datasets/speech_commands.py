"""Google Speech Commands, in torchaudio's directory layout: a folder for each word, and the lists of the splits."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.formats.audio import log_mel, read_wav
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Samples, Source, SplitName, missing
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

RATE = 16_000
_LISTS: dict[SplitName, str] = {"validation": "validation_list.txt", "test": "testing_list.txt"}
_VERSIONS = ("speech_commands_v0.02", "speech_commands_v0.01")
_V001_COUNTS = (51_088, 6_835)
"""Training and test clips of version 0.01, whole; with 6,798 to validate on they are its 64,721."""
_REPEAT_SEED = 0


def speech_commands(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """The folder of words in `source`, or in a version's folder below it; the newest version comes first.

    Without `source` it is looked for in raw/SpeechCommands, where torchaudio puts it, and version 0.02 is
    downloaded if nothing is there. The lists of the copy name the test and the validation part; the rest is the
    training part. The words tell which version it is: with any of the five that 0.02 added
    all 35 are expected, else the 30 of 0.01. Labels follow the alphabet.

    Raises:
        DataError: nothing of the kind in `source`, a list or word that is missing, damaged or empty, a
            failed download.
    """
    unpacked = raw / "SpeechCommands" / _VERSIONS[0]
    if source is None:
        remove_partial_downloads(dataset, raw)
    folder = _search(source or raw)
    if folder is None and source is None:
        with contextlib.suppress(OSError):
            unpacked.rmdir()  # torchaudio takes an empty folder for the data, and fetches nothing
        download(dataset, raw, lambda: _fetch(raw), [unpacked])
        folder = _search(raw)
    if folder is None:
        raise missing(dataset, source or raw, f"a folder with {' and '.join(_LISTS.values())}")
    row = _version(dataset, folder)
    listed = {split: _listed(folder, name) for split, name in _LISTS.items()}
    clips = _clips(row, folder)
    parts = {split: tuple(file for file in clips if file in files) for split, files in listed.items()}
    parts["train"] = tuple(file for file in clips if not any(file in files for files in listed.values()))
    available: tuple[SplitName, ...] = tuple(split for split in (*SPLITS, "validation") if parts[split])
    return Source(folder, clips, lambda split: _read(row, folder, split, parts[split]), available, row)


def _search(root: Path) -> Path | None:
    """The first folder at or under `root` that holds both lists."""
    inner = (".", *_VERSIONS, *(f"SpeechCommands/{version}" for version in _VERSIONS))
    folders = (root / each for each in inner)
    return next((each for each in folders if all((each / name).is_file() for name in _LISTS.values())), None)


def _fetch(raw: Path) -> None:
    from torchaudio.datasets import SPEECHCOMMANDS

    SPEECHCOMMANDS(raw, url=_VERSIONS[0], download=True)


def _version(dataset: Dataset, folder: Path) -> Dataset:
    """The row of the version that the words in `folder` belong to."""
    added = set(dataset.classes) - set(dataset.older_classes)
    if any((folder / word).is_dir() for word in added):
        return dataset
    title = dataset.title.replace("0.02", "0.01")
    split = f"version 0.01; {dataset.split}"
    return dataclasses.replace(dataset, title=title, classes=dataset.older_classes, counts=_V001_COUNTS, split=split)


def _listed(folder: Path, name: str) -> frozenset[Path]:
    """The clips that a list names; each is checked to exist."""
    file = folder / name
    todo = "Fetch the copy again; a list of a part of it names the clips of that part alone."
    try:
        lines = reading.text(file).split()
    except UnreadableError as refused:
        problem = f"unreadable list {file}"
        raise DataError(problem, expected="lines of WORD/CLIP.wav", got=refused.got, todo=todo) from None
    for number, line in enumerate(lines, start=1):
        if not (folder / line).is_file():
            raise DataError(
                f"a clip that {file} names is missing",
                expected="WORD/CLIP.wav, a file beside the list",
                got=f"'{line[:80]}' in line {number:,}",
                todo=todo,
            )
    return frozenset(folder / line for line in lines)


def _clips(row: Dataset, folder: Path) -> tuple[Path, ...]:
    """Every clip of every word, in the order of their names."""
    clips = []
    for word in row.classes:
        files = sorted((folder / word).glob("*.wav"))
        if not files:
            raise DataError(
                f"no clips of '{word}' in {folder}",
                expected=f"*.wav files in the folder of each of {row.title}'s {len(row.classes)} words",
                got="none" if (folder / word).is_dir() else "no such folder",
                todo="Fetch the copy again; words of your own choice are a data set of the kind `folder`.",
            )
        clips += files
    return tuple(clips)


def _read(row: Dataset, folder: Path, split: SplitName, files: Sequence[Path]) -> Samples:
    if not files:
        raise DataError(
            f"{row.title} has no {split} split here",
            expected="clips that no list names" if split == "train" else f"clips in {folder / _LISTS[split]}",
            got="none",
            todo="Fetch the copy again.",
        )
    y = np.array([row.classes.index(file.parent.name) for file in files], dtype=np.int64)
    return Samples(tuple(files), y, read_clip, balanced(y) if split == "train" else None)


def balanced(y: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows in which each class is as frequent as the largest: all rows, then random ones of the smaller classes.

    The paper balances its training classes in this way. The repeated rows are drawn with a fixed seed and are the
    same on any machine: NumPy guarantees that the stream of RandomState does not change.
    """
    random = np.random.RandomState(_REPEAT_SEED)
    counts = np.bincount(y)
    rows = [np.arange(len(y))]
    for label, count in enumerate(counts):
        if count:
            drawn = random.randint(count, size=int(counts.max() - count), dtype=np.int64)
            rows.append(np.flatnonzero(y == label)[drawn])
    return np.concatenate(rows)


def read_clip(file: Path, preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """The log-mel features [1, T, 1, mels, frames] of a clip.

    Raises:
        DataError: unreadable (see `read_wav`), or not 16 kHz.
    """
    assert preparation.T is not None
    samples, rate = read_wav(file, RATE)
    return log_mel(samples, rate, T=preparation.T)[None]
