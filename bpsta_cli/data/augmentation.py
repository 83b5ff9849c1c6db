"""Training-time augmentation: how a batch of stored samples is changed anew in every epoch.

Presets:
    none        samples as they are stored.
    standard    what the kind of data allows:
        image   a shift in both directions. Of a colour image by up to an eighth of its side: the crop from a
                border of 4 pixels around CIFAR's 32 (He et al. 2016, arXiv:1512.03385, section 4.2). Of a
                grey one by up to a tenth.
        events  a shift of all T frames together by up to a tenth of the side.
        speech  a shift along the utterance by up to a tenth of it: 100 ms of a second, the default of
                time_shift_ms in TensorFlow's speech_commands example.
        series  a shift along time by up to a tenth of the T steps.
    What moves in at an edge is 0 (black, no event, silence), or of a series its channel's mean: nothing wraps around
    from the other side. Half of the images and recordings are also mirrored left to right, where the data set's row in
    the catalogue says that a mirrored sample keeps its class (`flip_safe`).

This runs on what the store holds, before `encoding.to_input`: in NumPy, where a shift copies one part of an
array of small integers. An image is changed once, not at each of its T steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Kind
from bpsta_cli.data.formats.series import MEAN
from bpsta_cli.random_numbers import Stream

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.integer[Any]]
Preset = Literal["none", "standard"]
COLOUR_SHARE, SHARE = 8, 10
"""The longest shift is the side of an image, or the length of an utterance, divided by this; at least one pixel."""
_COLOURS = 3


def for_epoch(
    preset: Preset, kind: Kind, samples: int, *, flip_safe: bool, seed: int, epoch: int
) -> Callable[[Array, Rows], Array]:
    """The function that augments the batches of one epoch.

    All random numbers are drawn here, for each training sample. So what happens to a sample depends only on the seed,
    the epoch and its number, not on the batch that it is in, and a resumed run gives what an unbroken one gives.

    Args:
        preset: "none" or "standard".
        kind: of the samples, which decides what "standard" does.
        samples: training samples.
        flip_safe: whether a mirrored sample keeps its class.
        seed: the run's seed.
        epoch: which pass over the training part, from 0.

    Returns:
        A function of a batch as stored (images [B, C, H, W], frames [B, T, 2, H, W], features [B, T, 1, mels, frames]
        or series [B, T, 1, channels, 1]) and the numbers of its samples [B] in the training part. It returns a new
        batch of the same shape and type.
    """
    if preset == "none":
        return lambda x, _rows: x
    draws = Stream("augmentation", seed, epoch).uniform(samples, 3)
    if kind in ("speech", "series"):
        before = MEAN if kind == "series" else 0
        return lambda x, rows: _delayed(x, draws[rows, 0], before)
    mirrored = (draws[:, 2] < 0.5) & flip_safe
    return lambda x, rows: _moved(x, draws[rows, 0], draws[rows, 1], mirrored[rows])


def _moved(x: Array, down: Array, right: Array, mirrored: npt.NDArray[np.bool_]) -> Array:
    """Images or frames [B, ..., C, H, W], each mirrored and shifted as its draws in [0, 1) say."""
    channels, height, width = x.shape[-3:]
    share = COLOUR_SHARE if channels == _COLOURS else SHARE
    result = np.zeros(x.shape, x.dtype)
    moves = zip(_shifts(down, height, share), _shifts(right, width, share), mirrored, strict=True)
    for sample, target, (dy, dx, mirror) in zip(x, result, moves, strict=True):
        source = sample[..., ::-1] if mirror else sample
        (to_row, from_row), (to_column, from_column) = _overlap(dy, height), _overlap(dx, width)
        target[..., to_row, to_column] = source[..., from_row, from_column]
    return result


def _delayed(x: Array, later: Array, before: int) -> Array:
    """Features [B, T, 1, mels, frames], each shifted along its T * frames moments as its draw in [0, 1) says.

    `before` is what moves in.
    """
    samples, steps, _, mels, frames = x.shape
    length = steps * frames
    utterances = x.swapaxes(1, 3).reshape(samples, mels, length)
    result = np.full_like(utterances, before)
    for sample, target, shift in zip(utterances, result, _shifts(later, length, SHARE), strict=True):
        to, origin = _overlap(shift, length)
        target[:, to] = sample[:, origin]
    return np.ascontiguousarray(result.reshape(samples, mels, 1, steps, frames).swapaxes(1, 3))


def _shifts(draws: Array, length: int, share: int) -> list[int]:
    """Whole shifts from -reach to reach, all equally likely, from draws in [0, 1)."""
    reach = max(1, length // share) if length > 1 else 0
    shifts: list[int] = (np.floor(draws * (2 * reach + 1)).astype(int) - reach).tolist()
    return shifts


def _overlap(shift: int, length: int) -> tuple[slice, slice]:
    """The slice of a shifted axis that is written, and the slice of the original that is copied to it."""
    kept = length - abs(shift)
    to, origin = max(shift, 0), max(-shift, 0)
    return slice(to, to + kept), slice(origin, origin + kept)
