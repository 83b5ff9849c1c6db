"""What a block of norm, ReLU, neuron and pooling is, and its batch norm's arithmetic, for every device alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli.rules import Rule

POOLS = (1, 2)
"""Pooling that the kernels know: none, and two by two."""


class Statistics(NamedTuple):
    """Of batch norm, biased: [1, C], or [T, C] for a set a step; float64."""

    mean: Tensor
    var: Tensor


class Block(NamedTuple):
    """What a block computes beside its norm.

    Attributes:
        steps: T.
        relu: whether a ReLU stands before the neuron.
        pool: side of the max pooling's windows, one of `POOLS`.
        threshold: of the neuron.
        decay: of the neuron.
        rule: learning rule of the neuron, one that `rule_codes.numbered` knows.
        eps: what batch norm adds to the variance.
    """

    steps: int
    relu: bool
    pool: int
    threshold: float
    decay: float
    rule: Rule
    eps: float


def from_moments(origin: Tensor, sums: Tensor, rows: int, *, per_step: bool) -> Statistics:
    """Statistics from the sums [S, 2, C] of x - origin and of its square, over `rows` values of each step."""
    if not per_step:
        rows, sums = rows * len(sums), sums.sum(0, keepdim=True)
    away = sums[:, 0] / rows
    return Statistics(origin.double() + away, (sums[:, 1] / rows - away.square()).clamp_(min=0))


class Through(NamedTuple):
    """Batch norm's backward pass, dL/dx = gain g + slope (x - mean) + offset with g = dL/dy: [sets, C] each."""

    gain: Tensor
    slope: Tensor
    offset: Tensor


def through_norm(weight: Tensor, seen: Statistics, eps: float, sums: Tensor | None = None, rows: int = 1) -> Through:
    """The coefficients; `sums` [sets, 2, C] are those of g and of g (x - mean) over `rows` values.

    Without them the statistics are constants.
    """
    scale = (seen.var + eps).rsqrt()
    gain = weight.double() * scale
    if sums is None:
        return Through(gain, torch.zeros_like(gain), torch.zeros_like(gain))
    return Through(gain, -gain * scale.square() * sums[:, 1] / rows, -gain * sums[:, 0] / rows)


def parameter_gradients(seen: Statistics, eps: float, sums: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias [C], in the dtype of `like`, from the sums of `through_norm`."""
    scale = (seen.var + eps).rsqrt()
    return (sums[:, 1] * scale).sum(0).to(like.dtype), sums[:, 0].sum(0).to(like.dtype)
