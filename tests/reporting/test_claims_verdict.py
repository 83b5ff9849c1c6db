"""The rule by hand-worked numbers: the test of a sum of means, Holm's correction, and the verdict at its borders."""

import math

import numpy as np
import pandas as pd
import pytest

from bpsta_cli.reporting.claims.verdict import LEVEL, Sample, contrast, decide, holm
from bpsta_cli.reporting.comparison import welch


def by_hand(t, freedom):
    """Two-sided p of Student's t with one or two degrees of freedom, in closed form."""
    return 1 - 2 * math.atan(t) / math.pi if freedom == 1 else 1 - t / math.sqrt(2 + t * t)


def test_a_difference_is_tested_as_welch_does():
    # 95 - 92 = 3, variances 0 and 8 over 2 seeds: t = 3 / 2 with 1 degree of freedom
    found = contrast([Sample(1, (95, 95)), Sample(-1, (90, 94))], 0)
    assert found.value == 3
    assert found.p == pytest.approx(by_hand(1.5, 1))
    quantile = math.tan(math.pi * (0.5 - LEVEL / 2))
    assert (found.low, found.high) == (pytest.approx(3 - 2 * quantile), pytest.approx(3 + 2 * quantile))


def test_it_is_the_test_of_the_other_tables():
    chance = np.random.default_rng(0)
    for sizes in ((2, 3), (5, 5), (3, 7)):
        one, other = (tuple(chance.normal(size=size).tolist()) for size in sizes)
        found = contrast([Sample(1, one), Sample(-1, other)], 0)
        assert found.p == pytest.approx(welch(pd.Series(one), pd.Series(other)))


def test_one_sample_is_held_against_the_bound_as_student_does():
    # mean 2, standard error 1
    assert contrast([Sample(1, (1, 3))], 0).p == pytest.approx(by_hand(2, 1))
    assert contrast([Sample(1, (1, 3))], 2).p == pytest.approx(1)
    assert contrast([Sample(1, (1, 3))], 5).p == pytest.approx(by_hand(3, 1))


def test_a_difference_of_differences_weighs_a_shared_sample_twice():
    # (b - a) - (c - b): variance 4 + 1 + 1 = 6, degrees of freedom 6^2 / (16 + 1 + 1) = 2
    found = contrast([Sample(2, (9, 11)), Sample(-1, (1, 3)), Sample(-1, (3, 5))], 0)
    assert found.value == 2 * 10 - 2 - 4
    assert found.p == pytest.approx(by_hand(14 / math.sqrt(6), 2))


def test_without_any_spread_there_is_no_p():
    found = contrast([Sample(1, (0.1 + 0.2, 0.1 + 0.2)), Sample(-1, (0.1, 0.1))], 0)
    assert math.isnan(found.p)
    assert found.low == found.value == found.high


def test_the_interval_has_the_bound_as_its_end_where_p_is_the_level():
    found = contrast([Sample(1, (1, 3, 7)), Sample(-1, (0, 1, 0.5))], 0)
    assert contrast([Sample(1, (1, 3, 7)), Sample(-1, (0, 1, 0.5))], found.low).p == pytest.approx(LEVEL)


def test_holm_multiplies_the_smallest_by_their_number_and_never_falls():
    # 0.01 x 4, 0.02 x 3, 0.04 x 2, 0.045 x 1 -> the last one is raised to the one before it
    assert holm([0.04, 0.01, 0.045, 0.02]) == pytest.approx([0.08, 0.04, 0.08, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_counts_no_line_without_a_p():
    corrected = holm([math.nan, 0.02, 0.03])
    assert math.isnan(corrected[0])
    assert corrected[1:] == pytest.approx([0.04, 0.04])


@pytest.mark.parametrize(
    ("value", "bound", "p", "direction", "verdict"),
    [
        (1, 0, 0.0499, "above", "holds"),
        (1, 0, 0.05, "above", "not told apart"),  # below the level, and not at it
        (-1, 0, 0.0499, "above", "fails"),
        (-1, 0, 0.0499, "below", "holds"),
        (1, 0, 0.0499, "below", "fails"),
        (0.7, 0.6, 0.01, "below", "fails"),
        (0.5, 0.6, 0.01, "below", "holds"),
        (-0.5, -1, 0.01, "above", "holds"),
        (1, 0, math.nan, "above", "not told apart"),
    ],
)
def test_the_verdict_at_its_borders(value, bound, p, direction, verdict):
    assert decide(value, bound, p, direction) == verdict
