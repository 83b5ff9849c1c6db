"""The learning rate as a pure function of the step."""

import math

from bpsta_cli.portable_math import cos


def learning_rate(
    step: int, *, peak: float, warmup: int, total: int, schedule: str = "cosine", period: int = 1
) -> float:
    """Learning rate at optimisation step `step` (0-based).

    1. `step < warmup`: linear rise, reaching `peak` at the first step after it.
    2. "cosine": one half cosine from `peak` to 0 at `total`.
    3. "sgdr": warm restarts, Loshchilov and Hutter 2017 (arXiv:1608.03983), Eq. 5: half cosines of
       `period`, 2 `period`, 4 `period`, ... steps, each from `peak` to 0.

    Args:
        step: optimisation steps taken so far.
        peak: the largest rate.
        warmup: steps of the rise.
        total: steps of the whole run.
        schedule: "cosine" or "sgdr".
        period: steps of the first half cosine under "sgdr", at least 1.
    """
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    since, length = step - warmup, total - warmup
    if schedule == "sgdr":
        length = period
        while since >= length:
            since, length = since - length, 2 * length
    return peak * 0.5 * (1 + cos(math.pi * min(1.0, since / length))) if length > 0 else peak
