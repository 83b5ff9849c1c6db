"""Statistics of pairs, beside numbers worked out by hand or printed in tables."""

import math

import pytest
from scipy.stats import norm

from bpsta_cli.reporting.paired import Paired, detectable, holm, paired, power, verdict


def test_the_paired_t_test_is_the_one_worked_out_by_hand():
    # differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t = 3.4641; 4.302653 is Student's t of 97.5 % at 2
    found = paired([1.0, 2.0, 3.0])
    assert (found.pairs, found.mean) == (3, 2.0)
    half = 4.302653 / math.sqrt(3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-6)
    # at two degrees of freedom p = 1 - t / sqrt(2 + t^2), with t^2 = 12
    assert found.p == pytest.approx(1 - math.sqrt(12 / 14), abs=1e-9)


def test_what_cannot_be_tested_has_no_p():
    for differences in ([], [1.0], [1.0, math.nan]):
        assert math.isnan(paired(differences).p)
        assert math.isnan(paired(differences).low)
    equal = paired([0.5, 0.5])
    assert (equal.mean, equal.low, equal.high, equal.detectable) == (0.5, 0.5, 0.5, 0.0)
    assert math.isnan(equal.p)
    assert math.isnan(paired([100 * (0.7 - 0.5), 100 * (0.8 - 0.6)]).p)  # equal but for rounding


def test_power_is_what_cohens_tables_say():
    # G*Power 3.1, matched pairs, two-sided 5 %: 34 pairs and 0.5 give 0.808; 10 pairs and 80 % need 0.996
    assert power(0.5, 34) == pytest.approx(0.808, abs=5e-4)
    assert detectable(10, 1.0) == pytest.approx(0.996, abs=5e-4)
    assert detectable(10, 3.0) == pytest.approx(3 * detectable(10, 1.0))


def test_without_an_effect_the_power_is_the_level_and_with_many_pairs_that_of_the_normal_test():
    assert power(0.0, 2) == pytest.approx(0.05, abs=1e-6)
    assert power(0.02, 20_000) == pytest.approx(norm.sf(1.959964 - 0.02 * math.sqrt(20_000)), abs=1e-3)


def test_holms_correction_is_step_down_and_leaves_out_what_is_no_test():
    # sorted 0.01, 0.02, 0.03: 3 x 0.01; 2 x 0.02; 0.03, raised to the one before
    corrected = holm([0.02, math.nan, 0.01, 0.03])
    assert [corrected[0], corrected[2], corrected[3]] == pytest.approx([0.04, 0.03, 0.04])
    assert math.isnan(corrected[1])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@pytest.mark.parametrize(
    ("low", "mean", "high", "p", "words"),
    [
        (0.6, 1.0, 1.4, 0.01, "higher"),
        (-1.4, -1.0, -0.6, 0.01, "lower"),
        (0.1, 0.2, 0.3, 0.01, "higher, within 0.5 points"),
        (-0.2, 0.1, 0.4, 0.4, "not told apart, within 0.5 points"),
        (0.1, 1.0, 1.9, 0.06, "not told apart"),
        (0.3, 0.3, 0.3, math.nan, "not told apart, within 0.5 points"),
        (math.nan, 1.0, math.nan, math.nan, "too few seeds"),
    ],
)
def test_a_verdict_says_which_way_and_whether_it_matters(low, mean, high, p, words):
    assert verdict(Paired(3, mean, low, high, p, 0.1), p, 0.5, "points") == words
