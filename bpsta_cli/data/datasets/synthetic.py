"""The embedded data sets: simulated recordings and clips, made from a seed on demand."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.datasets import synthetic_gestures as gestures
from bpsta_cli.data.datasets import synthetic_words as words
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.formats.audio import log_mel
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Recordings, Samples, Source, SplitName
from bpsta_cli.errors import DataError

SEED = 1
_SPEAKER_STREAM = len(SPLITS)
SPEAKERS: dict[SplitName, range] = {"train": range(40), "test": range(40, 50)}
"""Nobody speaks in both splits."""
_FULL_SCALE = 1 << 15


def synthetic_gestures(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """Simulated event recordings, see `synthetic_gestures`.

    Raises:
        DataError: a source was given; the data set needs none.
    """
    _refuse(dataset, source)

    def read(split: SplitName) -> Recordings:
        return Recordings(*_items(dataset, split), partial(_recording, len(dataset.classes)))

    return Source(raw, (), read)


def synthetic_speech(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """Simulated words, see `synthetic_words`.

    Raises:
        DataError: a source was given; the data set needs none.
    """
    _refuse(dataset, source)

    def read(split: SplitName) -> Samples:
        return Samples(*_items(dataset, split), _features)

    return Source(raw, (), read)


def _refuse(dataset: Dataset, source: Path | None) -> None:
    if source is not None:
        raise DataError(
            f"{dataset.name} needs no source",
            expected="no --source",
            got=str(source),
            todo="Leave --source out: the samples are made, not read.",
        )


def _items(dataset: Dataset, split: SplitName) -> tuple[tuple[str, ...], npt.NDArray[np.int64]]:
    """Names in place of files, SPLIT/INDEX, and labels: the classes in turn."""
    count = dataset.counts[SPLITS.index(split)]
    return tuple(f"{split}/{index}" for index in range(count)), np.arange(count) % len(dataset.classes)


def _stream(name: str) -> tuple[np.random.RandomState, SplitName, int]:
    """A sample's own stream of random numbers, its split and its number: any sample can be made without the others."""
    part, number = name.split("/")
    split: SplitName = "train" if part == "train" else "test"
    index = int(number)
    return np.random.RandomState([SEED, SPLITS.index(split), index]), split, index


def _recording(classes: int, name: str) -> Events:
    random, _, index = _stream(name)
    return gestures.record(index % classes, random)


def _features(name: str, preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """The log-mel features [1, T, 1, mels, frames] of a clip."""
    assert preparation.T is not None
    samples = (waveform(name) / np.float32(_FULL_SCALE)).astype(np.float32)
    return log_mel(samples, words.RATE, T=preparation.T)[None]


def waveform(name: str) -> npt.NDArray[np.int16]:
    """The clip called SPLIT/INDEX, as it would stand in a WAV file."""
    random, split, index = _stream(name)
    speakers = SPEAKERS[split]
    who = speakers[int(random.randint(len(speakers), dtype=np.int64))]
    return words.speak(index % len(words.WORDS), np.random.RandomState([SEED, _SPEAKER_STREAM, who]), random)
