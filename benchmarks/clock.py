"""Times taken in turns, and what they are of each other within a turn."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

from bpsta_cli.evaluation.timing import time_in_turns

WARM_UP = 2
"""Turns that are not timed: caches fill, libraries choose their algorithms, memory is asked for."""

OnProgress = Callable[[int, int], None]
"""OnProgress how many turns are done, of how many."""


class Spread(NamedTuple):
    """Median and quartiles."""

    median: float
    q1: float
    q3: float


def in_turns(
    works: Mapping[str, Callable[[], object]], *, rounds: int, device: torch.device, on_progress: OnProgress
) -> dict[str, list[float]]:
    """Milliseconds of each work in each round; a round does all, each time beginning with another one."""
    seconds = time_in_turns(
        {name: functools.partial(_call, work) for name, work in works.items()},
        lambda _: None,  # the works bring their own inputs
        turns=rounds,
        warm_up=WARM_UP,
        device=device,
        on_turn=lambda done: on_progress(done, WARM_UP + rounds),
    )
    return {name: [1000 * value for value in values] for name, values in seconds.items()}


def _call(work: Callable[[], object], _input: None) -> object:
    return work()


def spread(values: list[float]) -> Spread:
    """Of any values."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(q1), float(q3))


def ratio(times: list[float], base: list[float]) -> Spread:
    """Of the ratios within each round."""
    return spread([own / other for own, other in zip(times, base, strict=True)])
