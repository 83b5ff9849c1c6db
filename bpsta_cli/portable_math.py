"""exp, log, log10, sin and cos in float64 that give the same bits on every machine.

The C library's functions, and those of numpy and torch, differ in the last digit from one version and one processor to
the next: each is free to choose another algorithm, vector width or fused multiply-add. Here each is additions,
subtractions, multiplications, divisions, roundings to whole numbers and shifts of bits, one numpy call each. IEEE 754
defines the result of each to the last bit, and a numpy call that stores its result can fuse nothing. So the order
in which the lines below write them decides everything.

The result is within one unit in the last place (ulp) of the exact value. The argument is brought near 0, exactly but
for a remainder that is carried along; a Taylor series, cut off where a term no longer counts, is the small part of a
sum whose large part is exact. This is how W. J. Cody and W. Waite, "Software Manual for the Elementary Functions",
1980, build these functions.

Each takes a number or an array, and returns a number or an array of float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, overload

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LARGEST_ANGLE = float(1 << 20)
"""Radians; sin and cos refuse angles beyond. Up to here a quarter turn, in three parts, counts exactly."""

# Each constant is the sum of its parts. All but the last part have so few digits that the products below are exact.
_LN2 = (float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33"))
_QUARTER_TURN = (
    float.fromhex("0x1.921fb54400000p+0"),
    float.fromhex("0x1.0b4611a600000p-34"),
    float.fromhex("0x1.3198a2e037073p-69"),
)
_PER_LN10 = (float.fromhex("0x1.bcb7b15200000p-2"), float.fromhex("0x1.b9438ca9aadd5p-36"))
_LOG10_2 = (float.fromhex("0x1.34413509f7800p-2"), float.fromhex("0x1.fef311f12b358p-46"))
_OVERFLOW, _UNDERFLOW = 709.782712893384, -745.1332191019412
"""The largest argument of exp with a finite result, and the largest whose result is 0."""
_MANTISSA_BITS, _BIAS = 52, 1023
_HIGH_HALF = np.int64(-(1 << 32))
"""Clears the lower 32 bits of a float64: 21 digits stay."""

_EXP = [1 / math.factorial(n) for n in range(2, 15)]
_SIN = [(-1) ** n / math.factorial(2 * n + 1) for n in range(2, 9)]
_COS = [(-1) ** n / math.factorial(2 * n) for n in range(2, 9)]
_LOG = [2 / (2 * n + 1) for n in range(1, 13)]


class _Function:
    """A function of arrays that takes numbers too."""

    def __init__(self, function: Callable[[Floats], Floats]) -> None:
        wraps(function)(self)
        self._function = function

    @overload
    def __call__(self, x: float) -> float: ...
    @overload
    def __call__(self, x: npt.NDArray[Any]) -> Floats: ...
    def __call__(self, x: float | npt.NDArray[Any]) -> float | Floats:
        values = np.asarray(x, dtype=np.float64)
        with np.errstate(all="ignore"):
            result = self._function(np.atleast_1d(values)).reshape(values.shape)
        return result if isinstance(x, np.ndarray) else float(result)


@_Function
def exp(x: Floats) -> Floats:
    """e^x: k whole powers of 2 and what is left, r in [-ln 2 / 2, ln 2 / 2]."""
    bounded = np.where(np.isnan(x), 0.0, np.clip(x, 2 * _UNDERFLOW, 2 * _OVERFLOW))
    k = np.rint(bounded * (1 / (_LN2[0] + _LN2[1])))
    high = bounded - k * _LN2[0]
    low = k * _LN2[1]
    r = high - low
    lost = (high - r) - low
    y = 1.0 + (r + (lost + r * r * _polynomial(_EXP, r)))
    half = np.floor(k * 0.5)  # in two steps: 2^k alone may be too large or too small
    y = y * _power_of_2(half) * _power_of_2(k - half)
    y = np.where(x > _OVERFLOW, np.inf, np.where(x <= _UNDERFLOW, 0.0, y))
    return np.where(np.isnan(x), x, y)


@_Function
def log(x: Floats) -> Floats:
    """The natural logarithm; -inf at 0, nan below."""
    e, f, half_square, rest = _log_parts(x)
    y = e * _LN2[0] - ((half_square - (rest + e * _LN2[1])) - f)
    return _log_limits(x, y)


@_Function
def log10(x: Floats) -> Floats:
    """The logarithm to the base 10; -inf at 0, nan below."""
    e, f, half_square, rest = _log_parts(x)
    high = ((f - half_square).view(np.int64) & _HIGH_HALF).view(np.float64)
    low = ((f - high) - half_square) + rest
    large, medium = e * _LOG10_2[0], high * _PER_LN10[0]
    small = e * _LOG10_2[1] + (low + high) * _PER_LN10[1] + low * _PER_LN10[0]
    y = large + medium
    return _log_limits(x, y + (small + ((large - y) + medium)))


@_Function
def sin(x: Floats) -> Floats:
    """The sine of an angle in radians.

    Raises:
        ValueError: an angle beyond `LARGEST_ANGLE`, or none at all.
    """
    return _of_quarter(x, 0)


@_Function
def cos(x: Floats) -> Floats:
    """The cosine of an angle in radians.

    Raises:
        ValueError: an angle beyond `LARGEST_ANGLE`, or none at all.
    """
    return _of_quarter(x, 1)


def power(base: float, exponent: int) -> float:
    """base^exponent for a whole exponent >= 0, of products alone: squares of squares."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def _polynomial(coefficients: Sequence[float], x: Floats) -> Floats:
    """c0 + c1 x + c2 x^2 + ..., by Horner's rule."""
    y = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        y = y * x + coefficient
    return y


def _power_of_2(k: Floats) -> Floats:
    """2^k of whole k from -1022 to 1023, made of its bits."""
    return (k.astype(np.int64) + _BIAS << _MANTISSA_BITS).view(np.float64)


def _log_parts(x: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """x = 2^e (1 + f), 1 + f in [sqrt(1/2), sqrt(2)], as e, f, f^2 / 2 and the rest: log(1 + f) = f - f^2 / 2 + rest.

    With s = f / (2 + f), log(1 + f) = 2 artanh s = 2 s + s R, R = 2/3 s^2 + 2/5 s^4 + ..., and f - s f = 2 s.
    """
    usable = np.where((x > 0) & np.isfinite(x), x, 1.0)
    tiny = usable < 2.0**-1022
    bits = np.where(tiny, usable * 2.0**54, usable).view(np.int64)
    e = (bits >> _MANTISSA_BITS) - _BIAS - np.where(tiny, 54, 0)
    m = (bits & (1 << _MANTISSA_BITS) - 1 | _BIAS << _MANTISSA_BITS).view(np.float64)
    above = m > math.sqrt(2)
    f = np.where(above, m * 0.5, m) - 1.0
    s = f / (2.0 + f)
    square = s * s
    half_square = 0.5 * f * f
    rest = s * (half_square + square * _polynomial(_LOG, square))
    return (e + above).astype(np.float64), f, half_square, rest


def _log_limits(x: Floats, y: Floats) -> Floats:
    y = np.where(x == 0, -np.inf, np.where(x == np.inf, np.inf, y))
    return np.where((x < 0) | np.isnan(x), np.nan, y)


def _of_quarter(x: Floats, quarters: int) -> Floats:
    """The sine of x and so many quarter turns: of what is left in [-pi/4, pi/4], its sine or cosine, or the negative.

    What is left is r + lost; the products with a quarter turn's first two parts are exact.
    """
    if not (np.abs(x) <= LARGEST_ANGLE).all():
        raise ValueError(f"an angle of more than {LARGEST_ANGLE:.0f} radians, or none")
    k = np.rint(x * (2 / math.pi))
    first = x - k * _QUARTER_TURN[0]
    second = k * _QUARTER_TURN[1]
    difference = first - second
    back = first - difference
    error = (first - (difference + back)) + (back - second)
    third = k * _QUARTER_TURN[2] - error
    r = difference - third
    lost = (difference - r) - third
    which = k.astype(np.int64) + quarters
    y = np.where(which & 1, _cosine(r, lost), _sine(r, lost))
    return np.where(which & 2, -y, y)


def _sine(r: Floats, lost: Floats) -> Floats:
    square = r * r
    cube = square * r
    return r - ((square * (0.5 * lost - cube * _polynomial(_SIN, square)) - lost) + cube * (1 / 6))


def _cosine(r: Floats, lost: Floats) -> Floats:
    square = r * r
    half = 0.5 * square
    large = 1.0 - half
    return large + (((1.0 - large) - half) + (square * square * _polynomial(_COS, square) - r * lost))
