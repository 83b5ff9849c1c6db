"""Batch norm in torch's operations over a batch that several processes compute: where no compiled kernel does it.

The statistics, and the two sums of the backward pass, are of the whole batch: on a GPU, and in half precision.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.distributed.division import Division
from bpsta_cli.kernels.block_spec import (
    Statistics,
    from_moments,
    inverse_deviation,
    norm_grad_coefficients,
    parameter_gradients,
    rows_of_a_set,
    scale_and_shift,
)
from bpsta_cli.kernels.reference import state_dtype

PIXELS = (1, 3, 4)
"""The axes of x [S, B, C, H, W] that the values of a channel and step lie on."""


def norm(
    x: Tensor, weight: Tensor, bias: Tensor, divided: Division, *, eps: float, per_step: bool
) -> tuple[Tensor, Statistics]:
    """weight (x - mean) / sqrt(var + eps) + bias of x [S, B, C, H, W] in its dtype, and the whole batch's statistics.

    Args:
        x: this process's samples.
        weight: gain [C].
        bias: shift [C].
        divided: the batch.
        eps: what is added to the variance.
        per_step: whether each step has statistics of its own.
    """
    values = x.detach().to(state_dtype(x.dtype))
    first = values[0, 0, :, 0, 0]
    origin = divided.from_first(torch.where(first.isfinite(), first, 0))
    away = values - _spread(origin[None])
    sums = torch.stack([each.sum(PIXELS, dtype=torch.float64) for each in (away, away * away)], 1)
    rows = divided.whole(x[0, :, 0].numel())
    stats = from_moments(origin, divided.added(sums[None]), rows, per_step=per_step)
    y: Tensor = _SharedNorm.apply(x, weight, bias, stats, divided, eps)
    return y, stats


def _spread(values: Tensor) -> Tensor:
    """[sets, C] beside x [S, B, C, H, W]."""
    return values[:, None, :, None, None]


class _SharedNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, divided: Division, eps: float
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stats, ctx.divided, ctx.eps = stats, divided, eps
        dtype = state_dtype(x.dtype)
        scale, shift = (_spread(each.to(dtype)) for each in scale_and_shift(weight, bias, stats, eps))
        return (x.to(dtype) * scale + shift).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stats: Statistics = ctx.stats
        dtype = state_dtype(x.dtype)
        g, away = grad.to(dtype), x.to(dtype) - _spread(stats.mean.to(dtype))
        sums = torch.stack([each.sum(PIXELS, dtype=torch.float64) for each in (g, g * away)], 1)
        if len(stats.mean) == 1:
            sums = sums.sum(0, keepdim=True)
        sums = ctx.divided.added(sums[None])
        inverse = inverse_deviation(stats, ctx.eps)
        coefficients = norm_grad_coefficients(weight, inverse, sums, rows_of_a_set(x, stats))
        gain, slope, offset = (_spread(each.to(dtype)) for each in coefficients)
        grad_x = (gain * g + slope * away + offset).to(x.dtype)
        return grad_x, *parameter_gradients(inverse, sums, weight), None, None, None
