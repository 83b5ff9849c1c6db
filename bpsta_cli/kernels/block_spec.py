"""What a block of norm, ReLU, neuron and pooling is, and its batch norm's arithmetic, for every device alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli.distributed import division
from bpsta_cli.kernels.square_root import square_root
from bpsta_cli.rules import Rule, SilentGradient

POOLS = (1, 2)
"""Sides of the pooling's windows that the kernels know: no pooling, and two by two."""


class Statistics(NamedTuple):
    """Mean and biased variance of batch norm, float64: [1, C], or [T, C] where each step has its own."""

    mean: Tensor
    var: Tensor


class BlockSpec(NamedTuple):
    """What a block computes beside its norm.

    Attributes:
        steps: T.
        relu: whether a ReLU stands before the neuron.
        pool: side of the max pooling's windows, one of `POOLS`.
        threshold: of the neuron.
        decay: of the neuron.
        rule: learning rule of the neuron, one that `rule_codes.rule_code` knows.
        eps: what batch norm adds to the variance.
        silent: of the neuron, as in `bpsta_cli.kernels.lif`.
        spike_cost: of the neuron, before pooling.
    """

    steps: int
    relu: bool
    pool: int
    threshold: float
    decay: float
    rule: Rule
    eps: float
    silent: SilentGradient | None = None
    spike_cost: float = 0.0


def from_moments(origin: Tensor, sums: Tensor, rows: int, *, per_step: bool) -> Statistics:
    """Statistics from the sums [S, 2, C] of x - origin and of its square, over `rows` values of each step."""
    if not per_step:
        rows, sums = rows * len(sums), in_order(sums)
    away = sums[:, 0] / rows
    return Statistics(origin.double() + away, (sums[:, 1] / rows - away * away).clamp_(min=0))


def in_order(sums: Tensor) -> Tensor:
    """[S, ...] summed over its first axis, on the CPU in the order of its numbers: [1, ...]."""
    if sums.device.type != "cpu":  # where each addition would be a launch
        return sums.sum(0, keepdim=True)
    result = sums[:1]
    for step in range(1, len(sums)):
        result = result + sums[step : step + 1]
    return result


def inverse_deviation(stats: Statistics, eps: float) -> Tensor:
    """1 / sqrt(var + eps), float64 [sets, C]; of a root and a quotient, which are rounded alike everywhere."""
    return square_root(stats.var + eps).reciprocal_()


def scale_and_shift(weight: Tensor, bias: Tensor, stats: Statistics, eps: float) -> tuple[Tensor, Tensor]:
    """The norm as x scale + shift, float64 [sets, C] each: weight / sqrt(var + eps), and bias - mean scale."""
    scale = weight.detach().double() * inverse_deviation(stats, eps)
    return scale, bias.detach().double() - stats.mean * scale


class NormGradCoefficients(NamedTuple):
    """Batch norm's backward pass, dL/dx = gain g + slope (x - mean) + offset with g = dL/dy: [sets, C] each."""

    gain: Tensor
    slope: Tensor
    offset: Tensor


def norm_grad_coefficients(weight: Tensor, inverse: Tensor, sums: Tensor | None, rows: int) -> NormGradCoefficients:
    """The coefficients; `sums` [sets, 2, C] are those of g and of g (x - mean) over `rows` values.

    `inverse` is `inverse_deviation`. Without `sums` the statistics are constants.
    """
    gain = weight.double() * inverse
    if sums is None:
        return NormGradCoefficients(gain, torch.zeros_like(gain), torch.zeros_like(gain))
    return NormGradCoefficients(gain, -gain * (inverse * inverse) * sums[:, 1] / rows, -gain * sums[:, 0] / rows)


def rows_of_a_set(x: Tensor, stats: Statistics) -> int:
    """How many values of a channel of x [S, B, C, H, W], of the whole batch, a set of its statistics is taken over."""
    return division.whole((x[:, :, 0] if len(stats.mean) == 1 else x[0, :, 0]).numel())


def parameter_gradients(inverse: Tensor, sums: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """dL/dweight and dL/dbias [C] in the dtype of `like`; arguments as in `norm_grad_coefficients`."""
    return in_order(sums[:, 1] * inverse)[0].to(like.dtype), in_order(sums[:, 0])[0].to(like.dtype)
