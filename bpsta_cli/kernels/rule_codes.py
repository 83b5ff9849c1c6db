"""The numbers by which the compiled kernels, C++ and Triton, know the learning rules."""

from __future__ import annotations

from typing import NamedTuple

from bpsta_cli.rules import BPSA, BPSTA, STBP, Rule, SilentGradient

CURVES = {"rectangular": 1, "polynomial": 2, "sigmoid": 3, "gaussian": 4}
"""The numbers of the curves of `stbp`; `bpsa` and `bpsta` are 0."""


class RuleCode(NamedTuple):
    """A rule as the compiled kernels know it.

    Attributes:
        number: 0, or one of `CURVES`.
        parameter: alpha, or the width of the curve.
        detach_reset: whether the spike in the reset is held constant; False for `bpsa` and `bpsta`.
    """

    number: int
    parameter: float
    detach_reset: bool


def rule_code(rule: Rule) -> RuleCode | None:
    """How rules.hpp and gpu/rules.py know a rule; None if they do not."""
    if type(rule) is BPSA:  # a subclass may do anything
        return RuleCode(0, 0.0, False)
    if type(rule) is BPSTA:
        return RuleCode(0, float(rule.alpha), False)
    if type(rule) is STBP and rule.surrogate in CURVES:
        return RuleCode(CURVES[rule.surrogate], float(rule.surrogate_width), rule.detach_reset)
    return None


def rule_of(code: RuleCode) -> Rule:
    """A rule with this code. BPSA and BPSTA with an alpha of 0 have the same."""
    if code.number == 0:
        return BPSTA(code.parameter)
    curve = next(name for name, number in CURVES.items() if number == code.number)
    return STBP(curve, code.parameter, code.detach_reset)


class SilentCode(NamedTuple):
    """`rules.SilentGradient` as the compiled kernels know it.

    Attributes:
        rate: 1 / tau.
        limit: the trace below which a neuron is silent.
        width: of the sigmoid; 0 stands for no silent gradient.
    """

    rate: float
    limit: float
    width: float


def silent_code(silent: SilentGradient | None) -> SilentCode:
    """The numbers of a silent gradient, or those that stand for none."""
    return SilentCode(0.0, 0.0, 0.0) if silent is None else SilentCode(1 / silent.tau, silent.limit, silent.width)
