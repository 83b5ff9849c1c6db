"""Batch norm that is not part of a block, and running statistics, by the compiled kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from bpsta_cli.kernels import operators
from bpsta_cli.kernels.block_spec import Statistics
from bpsta_cli.kernels.capture import captured
from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.cpu import norm as cpu_norm


def norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    stats: Statistics | None = None,
    per_step: bool = False,
    relu: bool = False,
) -> tuple[Tensor, Statistics]:
    """weight (x - mean) / sqrt(var + eps) + bias, and a ReLU of that: batch norm that is not part of a block.

    `supports_norm` was asked before. It can be differentiated once, not twice.

    Args:
        x: output of a convolution [T, B, C, H, W], or [1, B, C, H, W] where it is the same at every step.
        weight: gain of the norm [C].
        bias: shift of the norm [C].
        eps: what is added to the variance.
        stats: the statistics, held constant; None for those of `x`, through which the gradient goes too.
        per_step: whether each step of an x of T steps has statistics of its own, where they are those of `x`.
        relu: whether there is a ReLU behind it.

    Returns:
        The output in the shape of `x`, channels last in memory, and the statistics.
    """
    through_stats = stats is None
    if captured(x):
        stats = operators.statistics(x, per_step=per_step, backend="cpu") if stats is None else stats
        return operators.norm(x, weight, bias, stats, eps=eps, relu=relu, through_stats=through_stats), stats
    stats = cpu_norm.statistics(x, per_step=per_step) if stats is None else stats
    return cpu_norm.norm(x, weight, bias, stats, eps=eps, relu=relu, through_stats=through_stats), stats


def track_statistics(running: tuple[Tensor, Tensor], stats: Statistics, *, unbiased: float, momentum: float) -> None:
    """Running mean and variance [C] <- (1 - momentum) of them + momentum of one set of statistics [C], in place.

    Args:
        running: the two.
        stats: mean and biased variance, float64.
        unbiased: n / (n - 1), which makes the variance of n values unbiased.
        momentum: share of the new in the result.
    """
    if stats.mean.dtype == torch.float64 and not library.unsupported_reason(running[0].device, running[0].dtype, None):
        track = operators.track_statistics if captured(running[0]) else cpu_norm.track
        track(*running, stats, unbiased=unbiased, momentum=momentum)
        return
    with torch.no_grad():
        for old, new in zip(running, (stats.mean, stats.var * unbiased), strict=True):
            old.copy_(old.double() * (1 - momentum) + new.double() * momentum)


def supports_norm(x: Tensor, weight: Tensor) -> bool:
    """Whether `norm` can run for such an input and gain; torch's own batch norm serves where it cannot."""
    return x.dtype == weight.dtype and not library.unsupported_reason(x.device, x.dtype, None)
