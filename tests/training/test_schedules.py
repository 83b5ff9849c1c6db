import math

import pytest

from bpsta_cli.training.schedules import learning_rate


def test_the_rate_rises_linearly_and_reaches_its_peak_right_after_the_rise():
    rates = [learning_rate(step, peak=1.0, warmup=4, total=20) for step in range(5)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])


@pytest.mark.parametrize(("step", "rate"), [(2, 2.0), (4, 2 * 0.853553), (6, 1.0), (8, 2 * 0.146447), (10, 0.0)])
def test_cosine_falls_from_the_peak_after_the_rise_to_nothing_at_the_end(step, rate):
    assert learning_rate(step, peak=2.0, warmup=2, total=10) == pytest.approx(rate, abs=1e-6)


def test_cosine_stays_at_nothing_after_the_end():
    assert learning_rate(11, peak=2.0, warmup=2, total=10) == 0


def test_without_a_rise_the_first_rate_is_the_peak():
    assert learning_rate(0, peak=0.3, warmup=0, total=10) == 0.3
    assert learning_rate(0, peak=0.3, warmup=0, total=0) == 0.3


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.5),
        (1, 1.0),  # first period: 2 steps
        (2, 0.5),
        (3, 1.0),  # restart: 4 steps
        (4, 0.853553),
        (5, 0.5),
        (7, 1.0),  # restart: 8 steps
        (11, 0.5),
        (14, 0.5 * (1 + math.cos(math.pi * 7 / 8))),
        (15, 1.0),
    ],
)
def test_sgdr_restarts_at_the_peak_with_twice_the_period(step, rate):
    got = learning_rate(step, peak=1.0, warmup=1, total=100, schedule="sgdr", period=2)
    assert got == pytest.approx(rate, abs=1e-6)


def test_sgdr_does_not_look_at_the_end():
    rates = {learning_rate(4, peak=1.0, warmup=1, total=t, schedule="sgdr", period=2) for t in (5, 50)}
    assert len(rates) == 1


def test_sgdr_without_a_period_restarts_after_one_step():
    rates = [learning_rate(step, peak=1.0, warmup=0, total=9, schedule="sgdr") for step in range(4)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 1.0])
