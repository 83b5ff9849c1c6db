"""How long the fuzzers run: a few examples each, or `BPSTA_FUZZ_SECONDS` seconds each (make fuzz)."""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, settings

SECONDS = float(os.environ.get("BPSTA_FUZZ_SECONDS", "0"))
"""0: the short form, the same examples every time."""
FEW, MANY = 20, 400
"""Examples of the short form, and of each round of the long one."""
SHARE = 4


def some(values: Sequence[str], name: str) -> Sequence[str]:
    """All of the values in the long form; in the short one every fourth, another fourth for another name."""
    return values if SECONDS else values[len(name) % SHARE :: SHARE]


def fuzz(test: Callable[..., None]) -> Callable[..., Any]:
    """A hypothesis test, to be called with its other arguments; in the long form again and again with other seeds."""
    quiet = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
    if not SECONDS:
        return settings(max_examples=FEW, derandomize=True, phases=[Phase.generate], **quiet)(test)

    many = settings(max_examples=MANY, **quiet)(test)

    def repeated(**arguments: Any) -> None:
        end, number = time.monotonic() + SECONDS, int(time.time())
        while time.monotonic() < end:
            hypothesis.seed(number)(many)(**arguments)
            number += 1

    return repeated
