"""One file of the user's as a sample, read and encoded as the samples that a run was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy.typing as npt

from bpsta_cli.config import DatasetSettings
from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset, Kind
from bpsta_cli.data.datasets import dvs, folder
from bpsta_cli.data.encoding import window_of
from bpsta_cli.data.formats.images import read_image
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.store.build import frames
from bpsta_cli.errors import DataError

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Sample:
    """What a file holds, as a store would: integers x, and the factor that makes the network's input of them."""

    x: npt.NDArray[Any]
    scale: float


def read(path: str | Path, dataset: str, settings: DatasetSettings, *, T: int, shape: Shape) -> Sample:
    """The sample in a file: x [1, C, H, W] of an image, [1, T, C, H, W] of a recording, of sound or of a series.

    Args:
        path: an image, a recording, a .wav file or a series; of several recordings in a file, FILE.h5:NUMBER names one.
        dataset: what the run was trained on: it says how the file is read.
        settings: of the run; how recordings are cut and frames and images are resized.
        T: time steps.
        shape: (C, H, W) of the run's samples.

    Raises:
        DataError: a folder, a damaged file, one of another kind, or of another shape than the run's samples.
    """
    path = Path(path)
    row = catalogue.get(dataset)
    kind = _kind(path, row, shape)
    how = AppliedPreparation(
        T=T,
        split_by=settings.split_by,
        size=settings.size,
        resize=None if settings.size is None else settings.resize,
        channels=None if settings.channels == "as-is" else settings.channels,
    )
    read_kind: dict[Kind, Callable[[], npt.NDArray[Any]]] = {
        "image": lambda: read_image(path, how.size, how.resize, how.channels)[None],
        "events": lambda: _recording(path, row, how, shape),
        "speech": lambda: _sound(path, row, how),
        "series": lambda: folder.read_steps(path, how),
    }
    x = read_kind[kind]()
    if x.shape[-3:] != shape:
        raise DataError(
            f"{path} does not fit the run",
            expected=f"{_words(shape)}, as {dataset} has",
            got=_words(x.shape[-3:]),
            todo="Bring it to that size and to those channels.",
        )
    return Sample(x, 1 / folder.FULL_SCALE[kind])


_SAID = {
    "image": "an image",
    "events": "events (.npz, .npy, .bin, .aedat)",
    "speech": "sound (.wav)",
    "series": "a series (.npz, .csv)",
}
"""The kinds of files as messages call them."""


def _kind(path: Path, row: Dataset, shape: Shape) -> Kind:
    """What the file is, which is what the run was trained on."""
    if path.is_dir():
        raise DataError("a folder", expected="files", got=str(path), todo=f"Name the files in it: {path}/*")
    if row.events_reader is not None:
        return row.kind
    kind = folder.kind_of(path)
    events = shape[0] == 2  # images, sound and series have one or three channels
    wanted = [row.kind] if not row.user_supplied else ["events"] if events else ["image", "speech", "series"]
    if kind is None or kind not in wanted:
        expected = " or ".join(_SAID.get(each, each) for each in wanted)
        problem = f"a file of another kind than {row.name}"
        raise DataError(problem, expected=expected, got=str(path), todo="Leave it out.")
    return kind


def _sound(path: Path, row: Dataset, how: AppliedPreparation) -> npt.NDArray[Any]:
    assert row.sound_reader is not None  # as the catalogue checks
    features: npt.NDArray[Any] = catalogue.function(row.sound_reader)(path, how)
    return features


def _recording(path: Path, row: Dataset, how: AppliedPreparation, shape: Shape) -> npt.NDArray[Any]:
    if row.user_supplied and how.size is not None:
        raise DataError(
            f"the size of the sensor behind {path} is not known",
            expected="a run on recordings that were not resized, or on a data set of the catalogue",
            got=f"a run on a folder with --size {how.size}",
            todo="Evaluate such recordings as a test part, with bpsta eval.",
        )
    own = row.events_reader
    reader = dvs.reader_of(row, path.suffix.lower()) if own is None else catalogue.function(own)
    sensor = shape if row.user_supplied else row.shape
    if how.size is not None and window_of(how.size, *sensor[1:]) == (1, 1):
        how = how.model_copy(update={"size": None, "resize": None})
    return frames(path, read=reader, dataset=replace(row, shape=sensor), how=how)


def _words(shape: tuple[int, ...]) -> str:
    channels = {1: "grey", 2: "two polarities", 3: "colour"}
    return f"{channels.get(shape[0], shape[0])}, {shape[1]} x {shape[2]}"
