"""Times taken in turns, and what they are of each other within a turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch

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
    """Milliseconds of each work in each round; a round does all, each time beginning with another one.

    What else the machine does then falls on all alike, and a ratio within a round has little of it.
    """
    names = list(works)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(WARM_UP + rounds):
        begin = turn % len(names)
        for name in (*names[begin:], *names[:begin]):
            _finish(device)
            began = time.perf_counter()
            works[name]()
            _finish(device)
            if turn >= WARM_UP:
                found[name].append(1000 * (time.perf_counter() - began))
        on_progress(turn + 1, WARM_UP + rounds)
    return found


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def spread(values: list[float]) -> Spread:
    """Of any values."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(q1), float(q3))


def ratio(times: list[float], base: list[float]) -> Spread:
    """Of the ratios within each round."""
    return spread([own / other for own, other in zip(times, base, strict=True)])
