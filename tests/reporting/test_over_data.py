"""The methods over all data: the pairs of the test are data sets, whatever their seeds, steps and structures."""

import math

import pytest
from test_seed_by_seed import a_run, table

from bpsta_cli.reporting.over_data import over_data
from bpsta_cli.reporting.seed_by_seed import seed_by_seed


def compared(*gains, T=(8,), seeds=(0, 1)):
    """A folder of data for each gain in accuracy of bpsa over stbp; it fires half as often."""
    return [
        a_run(method, seed, 0.5 + 0.01 * seed + gain * (method == "bpsa"), rate, T=steps, recipe=f"recipe {place}")
        | {"dataset": "folder"}
        for place, gain in enumerate(gains)
        for steps in T
        for seed in seeds
        for method, rate in (("stbp", 0.2), ("bpsa", 0.1))
    ]


def found(*runs):
    return over_data(seed_by_seed(table(*runs), ["stbp"]).frame)


def test_the_mean_and_its_interval_are_those_over_data_sets():
    (row,) = found(*compared(0.01, 0.02, 0.03)).records()
    assert (row["method"], row["data_sets"], row["rows"], row["rows_below"], row["rows_sparser"]) == (
        "bpsa",
        3,
        3,
        0,
        3,
    )
    assert row["accuracy_mean"] == pytest.approx(2.0)
    # t = 2 / (1 / sqrt(3)) with 2 degrees of freedom, of which p is 1 - t / sqrt(t^2 + 2)
    assert row["accuracy_p"] == pytest.approx(1 - math.sqrt(12 / 14))
    assert row["firing_rate_mean"] == pytest.approx(-50.0)


def test_more_seeds_and_steps_of_a_data_set_are_no_more_pairs():
    few, many = compared(0.01, -0.02), compared(0.01, T=(2, 4, 8), seeds=range(5))
    many += [run for run in compared(0.0, -0.02) if run["recipe"] == "recipe 1"]
    (one,), (other,) = found(*few).records(), found(*many).records()
    assert (other["data_sets"], other["rows"], other["rows_below"]) == (2, 4, 1)
    assert [other[f"accuracy_{part}"] for part in ("mean", "low", "high")] == pytest.approx(
        [one[f"accuracy_{part}"] for part in ("mean", "low", "high")]
    )


def test_a_method_of_one_data_set_is_left_out():
    assert found(*compared(0.01)).frame.empty
    assert list(found(*compared(0.01, 0.03)).display["less accurate"]) == ["0 of 2"]


def test_recipes_of_one_data_set_are_one_pair():
    runs = [run | {"dataset": "digits"} for run in compared(0.01, 0.03)] + compared(0.0, 0.0, 0.04)[-4:]
    (row,) = found(*runs).records()
    assert (row["data_sets"], row["rows"]) == (2, 3)
    assert row["accuracy_mean"] == pytest.approx(3.0)
