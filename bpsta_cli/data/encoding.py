"""Pure functions from stored samples and events to time steps [T, ...]."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli.errors import DataError

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]
SplitBy = Literal["number", "time"]
Resize = Literal["sum", "nearest"]
Channels = Literal["grey", "colour"]
_IMAGE_AXES, _EVENT_AXES = 4, 5


class Events(NamedTuple):
    """One recording of an event camera, or spikes of a row of units: four arrays of the same length, in order of time.

    Attributes:
        t: time stamps, whole units of any length (microseconds in the files read here).
        x: columns, 0 at the left; or the units.
        y: rows, 0 at the top; 0 of a row of units.
        p: polarity, 0 (darker) or 1 (brighter); 0 of spikes, which have none.
    """

    t: Array
    x: Array
    y: Array
    p: Array


def to_input(x: Array | torch.Tensor, *, T: int, scale: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """A batch from the store as the network's input, float32 [T, B, C, H, W].

    Args:
        x: images [B, C, H, W] or event frames [B, T, C, H, W], integers as stored.
        T: time steps. An image is the same at every step ("direct encoding"): it is stored once and
            expanded over time with stride 0, so the result must not be written to in place.
        scale: the factor that the integers are multiplied by.
        device: where the result is; the integers are copied there and made floats there.

    Raises:
        DataError: `x` has other axes, or frames for another T.
    """
    import torch

    if T < 1:
        raise DataError("unusable number of time steps", expected="T >= 1", got=f"T = {T}", todo="Raise T.")
    if x.ndim not in (_IMAGE_AXES, _EVENT_AXES):
        raise DataError(
            "unusable batch",
            expected="images [B, C, H, W] or event frames [B, T, C, H, W]",
            got=f"shape {tuple(x.shape)}",
            todo="Add or drop an axis.",
        )
    if x.ndim == _EVENT_AXES and x.shape[1] != T:
        raise DataError(
            "number of time steps does not match the prepared frames",
            expected=f"T = {x.shape[1]}, as the frames were cut",
            got=f"T = {T}",
            todo=f"Prepare the data set again with T = {T}.",
        )
    tensor = x if isinstance(x, torch.Tensor) else _tensor(x)
    tensor = tensor.to(device, non_blocking=True)  # which it is from pinned memory alone
    if tensor.ndim == _IMAGE_AXES:
        return (tensor.to(torch.float32) * scale).expand(T, *tensor.shape)
    steps = tensor.transpose(0, 1).to(torch.float32, memory_format=torch.contiguous_format)
    return steps if scale == 1 else steps * scale


def _tensor(x: Array) -> torch.Tensor:
    """`x` as a tensor, without a copy where torch may write to its memory."""
    import torch

    return torch.from_numpy(np.require(x, requirements=["C", "W"]))


def check_events(events: Events, shape: tuple[int, int, int], name: str) -> None:
    """Refuse a recording with events that belong to no pixel or are not in order of time.

    Args:
        events: the recording.
        shape: (polarities, H, W) of the sensor.
        name: what the message calls the recording, usually its file.

    Raises:
        DataError: arrays of different lengths, no events, time stamps that are negative or run
            backwards, coordinates off the sensor, a polarity that the sensor has not.
    """
    polarities, height, width = shape
    t = events.t
    if len({len(column) for column in events}) != 1:
        lengths = ", ".join(f"{key} {len(column):,}" for key, column in events._asdict().items())
        raise _unusable(name, "t, x, y and p of the same length", lengths)
    if len(t) == 0:
        raise _unusable(name, "at least one event", "an empty recording")
    for key, column, size in (("x", events.x, width), ("y", events.y, height), ("p", events.p, polarities)):
        low, high = int(column.min()), int(column.max())
        if low < 0 or high >= size:
            raise _unusable(name, f"{key} from 0 to {size - 1}", f"{key} from {low} to {high}")
    backwards = t[1:] < t[:-1]
    if backwards.any():
        at = int(np.argmax(backwards)) + 1
        raise _unusable(name, "time stamps in order", f"{int(t[at])} after {int(t[at - 1])} at event {at:,} (from 0)")
    if t[0] < 0:
        raise _unusable(name, "time stamps of 0 or more", f"{int(t[0])} at event 0")


def _unusable(name: str, expected: str, got: str) -> DataError:
    todo = "Fetch the recording again, or leave it out."
    return DataError(f"unusable recording {name}", expected=expected, got=got, todo=todo)


def split_by_number(events: Events, *, T: int, shape: tuple[int, int, int], name: str = "given") -> Array:
    """Frames with the same number of events each: N // T, and the last takes the remainder.

    The rule of SpikingJelly's `split_by="number"` (doi:10.1126/sciadv.adi1480).

    Args:
        events: a recording that `check_events` accepts.
        T: frames.
        shape: (polarities, H, W) of the sensor.
        name: what a message calls the recording.

    Returns:
        Counts [T, polarities, H, W], in the smallest unsigned integers that hold the largest.

    Raises:
        DataError: fewer events than frames.
    """
    each = len(events.t) // T
    if each == 0:
        raise DataError(
            f"recording too short to cut by number: {name}",
            expected=f"at least T = {T} events",
            got=f"{len(events.t)}",
            todo="Lower T, or split by time.",
        )
    return _count(events, [each * step for step in range(T)] + [len(events.t)], shape)


def split_by_time(events: Events, *, T: int, shape: tuple[int, int, int], name: str = "given") -> Array:
    """Frames of the same duration: (last - first) // T time units, and the last takes the remainder.

    The rule of SpikingJelly's `split_by="time"`, save that a frame may hold no event.

    Args:
        events: a recording that `check_events` accepts.
        T: frames.
        shape: (polarities, H, W) of the sensor.
        name: what a message calls the recording.

    Returns:
        Counts [T, polarities, H, W], in the smallest unsigned integers that hold the largest.

    Raises:
        DataError: the recording lasts fewer time units than frames.
    """
    first, last = int(events.t[0]), int(events.t[-1])
    window = (last - first) // T
    if window == 0:
        raise DataError(
            f"recording too short to cut by time: {name}",
            expected=f"a duration of at least T = {T} time units",
            got=f"{last - first}",
            todo="Lower T, or split by number.",
        )
    starts = np.array([first + window * step for step in range(T)], dtype=events.t.dtype)
    return _count(events, [*np.searchsorted(events.t, starts).tolist(), len(events.t)], shape)


def is_too_short(events: Events, split_by: SplitBy, T: int) -> bool:
    """Whether a recording has less than is needed to cut T frames so: an event, or a time unit, for each."""
    if split_by == "number" or len(events.t) == 0:
        return len(events.t) < T
    return int(events.t[-1]) - int(events.t[0]) < T


def in_last_frame(events: Events, *, T: int, shape: tuple[int, int, int]) -> Array:
    """Frames of which the last has every event, as it takes the remainder of what is too short to be cut.

    Args:
        events: any number of them, also none.
        T: frames.
        shape: (polarities, H, W) of the sensor.

    Returns:
        Counts [T, polarities, H, W].
    """
    return _count(events, [0] * T + [len(events.t)], shape)


def _count(events: Events, edges: list[int], shape: tuple[int, int, int]) -> Array:
    """Events of each polarity at each pixel [T, 2, H, W], counted frame by frame to stay in the cache."""
    polarities, height, width = shape
    bins = polarities * height * width
    frames = np.empty((len(edges) - 1, bins), dtype=np.int64)
    for step, (start, stop) in enumerate(itertools.pairwise(edges)):
        index = events.p[start:stop].astype(np.intp)
        index *= height
        index += events.y[start:stop]
        index *= width
        index += events.x[start:stop]
        frames[step] = np.bincount(index, minlength=bins)
    return _compact(frames).reshape(-1, polarities, height, width)


def shrink(frames: Array, size: int, how: Resize = "sum") -> Array:
    """Frames [..., H, W] at a lower resolution [..., size, size]; a row of units [..., 1, W] as [..., 1, size].

    Args:
        frames: event counts.
        size: rows and columns of the result; must divide H and W. Of a row of units, its length; must divide W.
        how: "sum" adds up the events of each window of pixels, so that none is lost; "nearest" keeps the first
            pixel of each window, as the paper's published code does with DVS frames.

    Raises:
        DataError: `size` does not divide the frame.
    """
    height, width = frames.shape[-2:]
    tall, wide = window_of(size, height, width)
    if how == "nearest":
        return np.ascontiguousarray(frames[..., ::tall, ::wide])
    windows = frames.reshape(*frames.shape[:-2], height // tall, tall, width // wide, wide)
    return _compact(windows.sum(axis=(-3, -1), dtype=np.int64))


def window_of(size: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the window of pixels that becomes one pixel of a frame of size x size, or 1 x size of a row.

    Raises:
        DataError: `size` does not divide both.
    """
    rows = min(size, height) if height == 1 else size
    if size < 1 or height % rows or width % size:
        high = width if height == 1 else height
        fitting = ", ".join(str(s) for s in range(1, high + 1) if high % s == 0 and width % s == 0)
        raise DataError("unusable frame size", expected=f"one of {fitting}", got=str(size), todo="Choose a divisor.")
    return height // rows, width // size


def _compact(counts: npt.NDArray[np.int64]) -> Array:
    """The same counts in the smallest unsigned integers that hold the largest."""
    return counts.astype(np.min_scalar_type(int(counts.max())))
