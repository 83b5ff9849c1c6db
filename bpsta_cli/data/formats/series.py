"""Series: the values of channels over time, read from .npz or .csv, and brought to T steps of bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.encoding import Events
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError, arrays, documents

LEVELS = 255
"""The largest value as stored; `1 / LEVELS` brings it back to 1."""
MEAN = 128
"""A channel's mean as stored."""
RANGE_SD = 8.0
"""Standard deviations from 0 to `LEVELS`, the mean in the middle: 8 / 255 = 0.031 of one for each stored level."""
SUFFIXES = (".npz", ".csv")
_NAME = "x"
_FORM = "an array [time, channels] of numbers"


def is_series(path: Path) -> bool:
    """Whether a .csv or .npz file holds a series; an archive of event arrays does not, nor one that cannot be read."""
    if path.suffix.lower() == ".csv":
        return True
    try:
        return not set(Events._fields) <= set(arrays.npz_names(path))
    except UnreadableError:
        return False


def read_series(path: Path) -> npt.NDArray[Any]:
    """The series in a file, float64 [time, channels]; uint8 where the file has that.

    A .csv file has a line for each moment and a column for each channel; a first line of names is left out. A .npz
    archive has the array `x`, or one array alone: [time, channels], or [time] of one channel.

    Raises:
        DataError: neither, no values, or one that is not finite.
    """
    try:
        values = documents.numbers(path) if path.suffix.lower() == ".csv" else _array(path)
    except UnreadableError as refused:
        raise unusable(path, refused.expected, refused.got) from None
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2:
        raise unusable(path, _FORM, f"{values.dtype} {values.shape}")
    return checked(path, values)


def checked(path: Path, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Values [..., time, channels] as float64, or as uint8 where they are that.

    Raises:
        DataError: no numbers, none at all, or one that is not finite.
    """
    if values.dtype.kind not in "buif":
        raise unusable(path, _FORM, f"{values.dtype} {values.shape}")
    if values.size == 0:
        raise unusable(path, "at least one moment of one channel", " x ".join(map(str, values.shape)))
    if values.dtype == np.uint8:
        return values
    exact = values.astype(np.float64)
    if not np.isfinite(exact).all():
        *sample, time, channel = np.argwhere(~np.isfinite(exact))[0].tolist()
        where = f"moment {time:,}, channel {channel:,} (from 0)" + "".join(f" of sample {row:,}" for row in sample)
        raise unusable(path, "finite numbers", f"{exact[(*sample, time, channel)]} at {where}")
    return exact


def _array(path: Path) -> npt.NDArray[Any]:
    names = arrays.npz_names(path)
    if set(Events._fields) <= set(names) or (_NAME not in names and len(names) != 1):
        raise unusable(path, f"{_FORM} called {_NAME}, or one alone", f"arrays {', '.join(names[:10]) or 'none'}")
    name = _NAME if _NAME in names else names[0]
    return arrays.npz(path, [name])[name]


def unusable(path: Path, expected: str, got: str) -> DataError:
    """The error for a file of series that cannot be used."""
    todo = "Save it again, or leave it out."
    return DataError(f"unusable series {path}", expected=expected, got=got, todo=todo)


def steps(series: npt.NDArray[Any], T: int, name: str) -> npt.NDArray[np.uint8]:
    """A series as uint8 [T, 1, channels, 1]: each step is the mean of its own T-th of the time.

    Every channel is standardised over its own time first (mean 0, standard deviation 1), as most series of the UCR
    archive are (Dau et al. 2019, doi:10.1109/JAS.2019.1911747): 0 is four standard deviations below its mean, `MEAN`
    the mean, `LEVELS` four above; what is beyond is cut off. So neither unit nor level of a channel matters. Bytes are
    taken as they are. The sums have one order, and the result is the same on every machine.

    Args:
        series: what `read_series` gives, [time, channels].
        T: time steps.
        name: what a message calls the series.

    Raises:
        DataError: fewer moments than steps.
    """
    moments = len(series)
    if moments < T:
        raise DataError(
            f"series too short: {name}", expected=f"at least T = {T} moments", got=f"{moments}", todo="Lower T."
        )
    edges = np.arange(T + 1) * moments // T
    widths = np.diff(edges)[:, None]
    if series.dtype == np.uint8:
        levels = _sums(series.astype(np.float64), edges) / widths
    else:
        levels = _sums(_standardised(series), edges) / widths * (LEVELS / RANGE_SD) + LEVELS / 2
    return np.clip(np.rint(levels), 0, LEVELS).astype(np.uint8)[:, None, :, None]


def _standardised(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Each channel with mean 0 and standard deviation 1; one that never changes is 0."""
    largest = np.abs(series).max(axis=0)
    scaled = series / np.where(largest > 0, largest, 1)  # squares of what remains neither overflow nor vanish
    away = scaled - np.cumsum(scaled, axis=0)[-1] / len(scaled)
    deviation = np.sqrt(np.cumsum(away * away, axis=0)[-1] / len(scaled))
    changing = (scaled.max(axis=0) > scaled.min(axis=0)) & (deviation > 0)
    return np.where(changing, away / np.where(changing, deviation, 1), 0)


def _sums(values: npt.NDArray[np.float64], edges: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The sums between edges, [T, channels], each value added to all before it in order of time."""
    totals = np.zeros((len(values) + 1, values.shape[1]))
    np.cumsum(values, axis=0, out=totals[1:])
    return np.diff(totals[edges], axis=0)
