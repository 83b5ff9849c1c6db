"""Two samples paired by seed: the mean difference, its interval, p, and what the design could have seen."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""Two-sided level of a test, and one less the confidence of an interval."""
POWER = 0.8
"""Chance to find a difference of the size of `Paired.detectable`."""
ROUNDING = 1e-9
"""Differences whose spread is a smaller share of them are equal."""
NODES = 400
"""Of the Gauss-Legendre quadrature over the spread that a sample may show."""


@dataclass(frozen=True)
class Paired:
    """Differences of one sample from another, pair by pair; NaN where there are too few pairs.

    Attributes:
        pairs: how many.
        mean: mean difference.
        low: lower end of the interval of 95 % confidence, by Student's t.
        high: its upper end.
        p: two-sided, of the paired t-test; NaN where all differences are equal.
        detectable: the smallest true difference that the test finds with `POWER` at `LEVEL`, uncorrected, if the
            differences spread as these do.
    """

    pairs: int
    mean: float
    low: float
    high: float
    p: float
    detectable: float


def paired(differences: Sequence[float]) -> Paired:
    """The paired t-test of differences against 0 (Student 1908, doi:10.1093/biomet/6.1.1)."""
    from scipy.stats import t

    n = len(differences)
    if n == 0 or not all(map(math.isfinite, differences)):
        return Paired(n, *[math.nan] * 5)
    mean = math.fsum(differences) / n
    if n == 1:
        return Paired(n, mean, *[math.nan] * 4)
    error = math.sqrt(math.fsum((each - mean) ** 2 for each in differences) / (n - 1) / n)
    if error < ROUNDING * max(map(abs, differences)):
        error = 0.0  # equal but for the last digits
    half = float(t.ppf(1 - LEVEL / 2, n - 1)) * error
    p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else math.nan
    return Paired(n, mean, mean - half, mean + half, p, detectable(n, error * math.sqrt(n)))


def detectable(pairs: int, sd: float) -> float:
    """The smallest mean difference that a two-sided paired t-test at `LEVEL` finds with `POWER`.

    Args:
        pairs: how many, at least 2.
        sd: standard deviation of the differences.
    """
    return _detectable_deviations(pairs) * sd if sd else 0.0


@functools.cache
def _detectable_deviations(pairs: int) -> float:
    """The same in standard deviations: a second of quadrature, which depends on the number of pairs alone."""
    from scipy.optimize import brentq

    highest = 1.0
    while power(highest, pairs) < POWER:
        highest *= 2
    return float(brentq(lambda size: power(size, pairs) - POWER, 0.0, highest))


def power(size: float, pairs: int) -> float:
    """Chance that a two-sided paired t-test at `LEVEL` finds a true mean difference of `size` standard deviations.

    The statistic is (Z + size sqrt(pairs)) / S, with Z normal and S^2 chi-square over its degrees of freedom (Cohen
    1988, Statistical Power Analysis for the Behavioral Sciences, chapter 2); scipy's noncentral t gives NaN far out.
    """
    import numpy as np
    from scipy.stats import chi, norm, t

    df = pairs - 1
    critical, shift, spread = t.ppf(1 - LEVEL / 2, df), size * math.sqrt(pairs), chi(df, scale=1 / math.sqrt(df))
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    half = spread.ppf(1 - 1e-12) / 2
    S = half * (nodes + 1)
    found = (norm.cdf(shift - critical * S) + norm.cdf(-shift - critical * S)) * spread.pdf(S)
    return float(half * (weights * found).sum())


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for their number by Holm's step-down method (Holm 1979, Scand. J. Statist. 6, 65-70).

    A NaN is no test: it stays one, and does not count.
    """
    order = sorted((p, place) for place, p in enumerate(values) if not math.isnan(p))
    corrected, highest = [math.nan] * len(values), 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * p))
        corrected[place] = highest
    return corrected


def verdict(found: Paired, corrected: float, margin: float, unit: str) -> str:
    """What a comparison comes to, in words.

    Args:
        found: the comparison.
        corrected: its p after correction.
        margin: a difference of this size or less does not matter; where the whole interval lies inside, that is said.
            An interval of 95 % is stricter than the two one-sided tests of 5 % each (Schuirmann 1987,
            doi:10.1007/BF01068419), which ask for that of 90 %.
        unit: what the differences are counted in.
    """
    if math.isnan(found.low):
        return "too few seeds"
    told = "not told apart"
    if corrected < LEVEL:
        told = "higher" if found.mean > 0 else "lower"
    within = -margin <= found.low and found.high <= margin
    return f"{told}, within {margin:g} {unit}" if within else told
