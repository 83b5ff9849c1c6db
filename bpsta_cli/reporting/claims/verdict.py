"""The rule: from the values of the seeds to a verdict. Numbers in, words out; it knows nothing of runs or papers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LEVEL = 0.05
"""A verdict is given where p, corrected, is below it; intervals are of 1 - LEVEL."""
FEWEST_SEEDS = 2
"""On each side: of one there is no spread."""

Verdict = Literal["holds", "fails", "not told apart", "not tested"]
VERDICTS: tuple[Verdict, ...] = ("holds", "fails", "not told apart", "not tested")


@dataclass(frozen=True)
class Sample:
    """The values of a group's seeds, and the weight of their mean in a sum of means."""

    weight: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of means.

    Attributes:
        value: the sum.
        low: lower end of its interval.
        high: upper end.
        p: two-sided, of no distance to the bound; NaN where no seed differs from another.
    """

    value: float
    low: float
    high: float
    p: float


def contrast(samples: Sequence[Sample], bound: float) -> Estimate:
    """Weigh the samples' means, and test the sum against `bound`.

    The sum's variance is sum w_i^2 s_i^2 / n_i, with Welch and Satterthwaite's degrees of freedom (Welch 1947,
    doi:10.1093/biomet/34.1-2.28): for weights 1 and -1 Welch's t-test, for one sample Student's.

    Args:
        samples: of at least `FEWEST_SEEDS` values each, independent of each other.
        bound: what the sum is held against.
    """
    from scipy.stats import t as student

    value = math.fsum(sample.weight * _mean(sample.values) for sample in samples)
    parts = [
        (sample.weight**2 * _variance(sample.values) / len(sample.values), len(sample.values)) for sample in samples
    ]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0:
        return Estimate(value, value, value, math.nan)
    freedom = variance**2 / math.fsum(part**2 / (n - 1) for part, n in parts)
    error = math.sqrt(variance)
    half = float(student.ppf(1 - LEVEL / 2, freedom)) * error
    p = 2 * float(student.sf(abs(value - bound) / error, freedom))
    return Estimate(value, value - half, value + half, p)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Holm's correction: the k-th smallest of m times m - k + 1, at most 1 and never falling.

    Holm 1979, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6(2).

    A NaN stays one and is not counted.
    """
    corrected = [math.nan] * len(probabilities)
    order = sorted((p, place) for place, p in enumerate(probabilities) if not math.isnan(p))
    largest = 0.0
    for rank, (p, place) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[place] = largest
    return corrected


def decide(value: float, bound: float, p: float, direction: Literal["above", "below"]) -> Verdict:
    """The verdict on a sum that lies above or below a bound by the claim; a corrected `p` of NaN decides nothing."""
    if not p < LEVEL:
        return "not told apart"
    claimed = value > bound if direction == "above" else value < bound
    return "holds" if claimed else "fails"


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _variance(values: Sequence[float]) -> float:
    """With n - 1; exactly 0 for equal values, whatever rounding makes of their mean."""
    if len(set(values)) == 1:
        return 0.0
    mean = _mean(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
