"""Readers of event recordings: N-MNIST's .bin, SpikingJelly's .npz, tonic's .npy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.sources import damaged
from bpsta_cli.reading import UnreadableError, arrays

_EVENT_BYTES = 5
_OVERFLOW_ROW = 240  # an N-MNIST "event" in this row says that the time stamp wrapped
_OVERFLOW_STEP = 2**13  # by this many microseconds
_TONIC_TIME_UNIT = 1000  # tonic's DVSGesture keeps milliseconds; microseconds here
_MOST_MILLISECONDS = 2**40  # 35 years


def read_n_mnist(path: Path) -> Events:
    """One N-MNIST recording: five bytes per event.

    x, y, then one bit of polarity and 23 bits of time in microseconds, big-endian
    (https://www.garrickorchard.com/datasets/n-mnist). A row of 240 is no event: it says that the
    time stamps from there on wrapped.

    Raises:
        DataError: the length is no multiple of five bytes.
    """
    try:
        content = np.frombuffer(reading.content(path, reading.RECORDING), np.uint8)
    except UnreadableError as refused:
        raise damaged(path, refused.expected, refused.got) from None
    if len(content) % _EVENT_BYTES:
        raise damaged(path, "a multiple of 5 bytes", f"{len(content):,} bytes")
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
    """One recording as SpikingJelly writes it: an .npz archive of t, x, y, p.

    Raises:
        DataError: no such archive, an array is missing or holds no whole numbers.
    """
    try:
        columns = arrays.npz(path, Events._fields)
    except UnreadableError as refused:
        raise damaged(path, refused.expected, refused.got) from None
    return whole_numbers(path, columns)


def read_tonic_npy(path: Path) -> Events:
    """One DVS128 Gesture recording as tonic writes it: an array [N, 4] of x, y, p, t (milliseconds).

    Raises:
        DataError: no such array.
    """
    try:
        table = arrays.npy(path)
    except UnreadableError as refused:
        raise damaged(path, refused.expected, refused.got) from None
    if table.ndim != 2 or table.shape[1] != len(Events._fields) or table.dtype.kind not in "buif":
        raise damaged(path, "numbers [N, 4]: x, y, p, t", f"{table.dtype} {table.shape}")
    if not np.isfinite(table).all() or np.abs(table).max(initial=0) >= _MOST_MILLISECONDS:
        raise damaged(path, f"numbers below {_MOST_MILLISECONDS:,}", "others")
    x, y, p, t = table.astype(np.int64).T
    return Events(t=t * _TONIC_TIME_UNIT, x=x, y=y, p=p)


def read_npy(path: Path) -> Events:
    """One recording in an .npy file: a structured array with fields t, x, y, p, or a table [N, 4] of x, y, p, t.

    Raises:
        DataError: no such array, or no whole numbers.
    """
    try:
        table = arrays.npy(path)
    except UnreadableError as refused:
        raise damaged(path, refused.expected, refused.got) from None
    fields = table.dtype.names
    if fields is not None and set(Events._fields) <= set(fields) and table.ndim == 1:
        columns = {key: table[key] for key in Events._fields}
    elif fields is None and table.ndim == 2 and table.shape[1] == len(Events._fields):
        columns = dict(zip("xypt", table.T, strict=True))
    else:
        got = f"{table.dtype} {table.shape}"
        raise damaged(path, "fields t, x, y and p, or a table [N, 4] of x, y, p, t", got)
    return whole_numbers(path, columns)


def whole_numbers(path: Path, columns: dict[str, npt.NDArray[Any]]) -> Events:
    """The columns t, x, y, p as integers.

    Raises:
        DataError: one that is no row of whole numbers.
    """
    for key, column in columns.items():
        if column.dtype.kind not in "bui" or column.ndim != 1:
            raise damaged(path, f"{key} as a row of whole numbers", f"{column.dtype} {column.shape}")
    return Events(**{key: column.astype(np.int64) for key, column in columns.items()})
