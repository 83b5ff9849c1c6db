"""Mel spectrograms in float64 that have the same bits on every machine.

The transforms of numpy, scipy and torch add in an order of their own, which changes with version, processor and number
of threads. Here the transform is a radix-2 Fourier transform, in which every value is one multiplication or addition of
two others, and every sum over frequencies is added in rising order. The window, the turning factors and the mel scale
come from `portable_math`. Real and imaginary parts are arrays of their own: numpy's product of complex numbers is fused
where the processor can.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli import portable_math

Floats = npt.NDArray[np.float64]
_LOWEST_HZ = 20.0
_LN10 = 2.302585092994046
_MEL, _CORNER_HZ = 2595.0, 700.0
"""O'Shaughnessy's mel scale: mel = 2595 log10(1 + f / 700)."""


def mel_power(samples: Floats, *, rate: int, window: int, hop: int, mels: int) -> Floats:
    """Power in each mel band at moments `hop` samples apart: [mels, len(samples) // hop].

    The k-th spectrum is that of a Hann window around sample k * hop, padded with silence on both sides to the next
    power of two. A band is a triangle over frequency whose corners are equally spaced in mel, from 20 Hz to half the
    sample rate.

    Args:
        samples: the sound; their number is a multiple of `hop`.
        rate: samples per second, in Hz.
        window: samples of the Hann window.
        hop: samples from one spectrum to the next.
        mels: number of bands.
    """
    size = 1 << (window - 1).bit_length()
    moments = len(samples) // hop
    padded = np.zeros(len(samples) + size)
    padded[size // 2 : size // 2 + len(samples)] = samples
    begin = (size - window) // 2
    seen = np.lib.stride_tricks.sliding_window_view(padded, window)[begin::hop][:moments].T
    windows = np.zeros((size, moments + moments % 2))  # in pairs
    np.multiply(seen, _hann(window), out=windows[begin : begin + window, :moments])
    return _in_bands(_power(windows)[:, :moments], _bands(rate, size, mels))


def _power(x: Floats) -> Floats:
    """The power spectra of real columns, [n, 2 m] -> [n / 2 + 1, 2 m].

    Two real columns are the real and the imaginary part of one complex column z; with Z its transform, those of
    the two are (Z[k] + conj Z[-k]) / 2 and (Z[k] - conj Z[-k]) / 2i.
    """
    half = x.shape[1] // 2
    real, imaginary = _transform(x[:, :half], x[:, half:])
    count = len(x) // 2 + 1
    back = -np.arange(count) % len(x)
    a, b, c, d = real[:count], imaginary[:count], real[back], imaginary[back]
    first = (a + c) * (a + c) + (b - d) * (b - d)
    second = (b + d) * (b + d) + (c - a) * (c - a)
    return np.concatenate([first, second], axis=1) * 0.25


def _transform(real: Floats, imaginary: Floats) -> tuple[Floats, Floats]:
    """The discrete Fourier transform of each column, whose length is a power of two: T. G. Stockham's order."""
    size, columns = real.shape
    stride = 1
    while stride < size:
        half = size // stride // 2
        turn_real, turn_imaginary = _turns(2 * half)
        re, im = real.reshape(2, half, stride, columns), imaginary.reshape(2, half, stride, columns)
        next_re, next_im = np.empty((half, 2, stride, columns)), np.empty((half, 2, stride, columns))
        np.add(re[0], re[1], out=next_re[:, 0])
        np.add(im[0], im[1], out=next_im[:, 0])
        minus_re, minus_im = re[0] - re[1], im[0] - im[1]
        np.subtract(minus_re * turn_real, minus_im * turn_imaginary, out=next_re[:, 1])
        np.add(minus_re * turn_imaginary, minus_im * turn_real, out=next_im[:, 1])
        real, imaginary, stride = next_re, next_im, 2 * stride
    return real.reshape(size, columns), imaginary.reshape(size, columns)


@lru_cache(maxsize=32)
def _turns(size: int) -> tuple[Floats, Floats]:
    """exp(-2 pi i k / size) for k < size / 2, real and imaginary, [size / 2, 1, 1]."""
    angles = (np.arange(size // 2) * (2 * math.pi / size))[:, None, None]
    return portable_math.cos(angles), -portable_math.sin(angles)


@lru_cache(maxsize=8)
def _hann(window: int) -> Floats:
    """The periodic Hann window, [window, 1]."""
    return (0.5 - 0.5 * portable_math.cos(np.arange(window) * (2 * math.pi / window)))[:, None]


class _Bands(NamedTuple):
    """Triangles over frequency.

    Attributes:
        first: the first bin of each band [mels].
        weights: those of the bins from there on, [widest band's bins, mels]; 0 beyond a band's end.
    """

    first: npt.NDArray[np.int64]
    weights: Floats


@lru_cache(maxsize=8)
def _bands(rate: int, size: int, mels: int) -> _Bands:
    """The bands from 20 Hz to half the sample rate, for spectra of `size` samples."""
    limits = _MEL * portable_math.log10(1 + np.array([_LOWEST_HZ, rate / 2]) / _CORNER_HZ)
    step = (limits[1] - limits[0]) / (mels + 1)
    corners = limits[0] + step * np.arange(mels + 2)
    corners = _CORNER_HZ * (portable_math.exp(corners * (_LN10 / _MEL)) - 1)
    hertz = np.arange(size // 2 + 1) * (rate / size)
    low, middle, high = corners[:-2], corners[1:-1], corners[2:]
    rising = (hertz[:, None] - low) / (middle - low)
    falling = (high - hertz[:, None]) / (high - middle)
    weights = np.maximum(np.minimum(rising, falling), 0)
    first = np.argmax(weights > 0, axis=0)
    widest = int((weights > 0).sum(axis=0).max())
    bins = first + np.arange(widest)[:, None]
    inside = bins < len(weights)
    gathered = np.take_along_axis(weights, np.minimum(bins, len(weights) - 1), axis=0)
    return _Bands(first, np.where(inside, gathered, 0))


def _in_bands(power: Floats, bands: _Bands) -> Floats:
    """The weighted sums of each band over its bins, in rising order: [bins, moments] -> [mels, moments]."""
    total = np.zeros((len(bands.first), power.shape[1]))
    for away, weights in enumerate(bands.weights):
        total += weights[:, None] * power[np.minimum(bands.first + away, len(power) - 1)]
    return total
