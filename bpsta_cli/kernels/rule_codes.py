"""The numbers by which the compiled kernels, C++ and Triton, know the learning rules."""

from __future__ import annotations

from bpsta_cli.rules import BPSA, BPSTA, STBP, Rule

CURVES = {"rectangular": 1, "polynomial": 2, "sigmoid": 3, "gaussian": 4}
"""The numbers that rules.hpp knows the curves of `stbp` by; `bpsa` and `bpsta` are 0."""


def numbered(rule: Rule) -> tuple[int, float, bool] | None:
    """The number, the parameter and `detach_reset` that rules.hpp knows a rule by; None if it does not."""
    if type(rule) is BPSA:  # a subclass may do anything
        return 0, 0.0, False
    if type(rule) is BPSTA:
        return 0, rule.alpha, False
    if type(rule) is STBP and rule.surrogate in CURVES:
        return CURVES[rule.surrogate], rule.surrogate_width, rule.detach_reset
    return None
