"""Batch norm on the CPU where it is not part of a block, with the ReLU behind it: statistics, forward and backward.

README.md in the folder above has the equations and the order of the sums; norm.cpp computes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.distributed import division
from bpsta_cli.kernels.block_spec import Statistics, rows_of_a_set
from bpsta_cli.kernels.cpu import held
from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.layouts import channels_last, empty_images


def statistics(x: Tensor, *, per_step: bool) -> Statistics:
    """Mean and biased variance of each channel of x [S, B, C, H, W], of each step by itself or of all together.

    Of a batch that is divided they are those of the whole.
    """
    x = channels_last(x.detach())
    sets = len(x) if per_step else 1
    stats = Statistics(*(torch.empty(sets, x.shape[2], dtype=torch.float64) for _ in range(2)))
    divided = division.current()
    if divided is None:
        call("norm_statistics", x.dtype, x, x.stride(0), *_sizes(x, sets=sets), *stats)
        return stats
    first = x[0, 0, :, 0, 0]
    origin = divided.from_first(torch.where(first.isfinite(), first, 0))
    which, parts = held.empty_parts(divided, len(x), 2, x.shape[2])
    call("norm_moment_parts", x.dtype, x, x.stride(0), *_sizes(x, sets=sets), origin, which, parts)
    steps, _, *others = _sizes(x, sets=sets)
    call("norm_from_moments", x.dtype, divided.added(parts), steps, divided.of, *others, origin, *stats)
    return stats


def affine(x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, eps: float) -> list[Tensor]:
    """`block_spec.scale_and_shift` and the mean, rounded to the dtype of `x`: [sets, C] each."""
    weight, bias = (value.detach().to(x.dtype).contiguous() for value in (weight, bias))
    mean, var = (value.contiguous() for value in stats)
    values = [torch.empty(mean.shape, dtype=x.dtype) for _ in range(3)]
    call("norm_affine", x.dtype, mean, var, *mean.shape, weight, bias, float(eps), *values)
    return values


def track(running_mean: Tensor, running_var: Tensor, stats: Statistics, *, unbiased: float, momentum: float) -> None:
    """running <- running (1 - momentum) + new momentum, with the statistics of one set; variances times `unbiased`."""
    arrays = (running_mean, running_var, *(value.contiguous() for value in stats))
    call("norm_track", running_mean.dtype, *arrays, len(running_mean), float(unbiased), float(momentum))


def norm(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, *, eps: float, relu: bool, through_stats: bool
) -> Tensor:
    """The norm of x [S, B, C, H, W]; arguments as in `bpsta_cli.kernels.norm`, unchecked.

    `through_stats` says whether the statistics are those of `x`, so that the gradient goes through them too.
    """
    y: Tensor = _Norm.apply(x, weight, bias, stats, eps, relu, through_stats)
    return y


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, eps: float, relu: bool, through: bool
    ) -> Tensor:
        x = _gapless(x)
        ctx.save_for_backward(x, weight)
        ctx.stats, ctx.eps, ctx.relu, ctx.through = stats, eps, relu, through
        ctx.values = affine(x, weight, bias, stats, eps)
        return forward(x, ctx.values, relu=relu)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        found = gradients(
            x,
            weight,
            grad,
            ctx.stats,
            ctx.values,
            eps=ctx.eps,
            relu=ctx.relu,
            through_stats=ctx.through,
            needs_x=ctx.needs_input_grad[0],
        )
        return *found, *[None] * 4


def forward(x: Tensor, values: Sequence[Tensor], *, relu: bool) -> Tensor:
    """The norm of `x`, without gradient; `values` are those of `affine`."""
    x = _gapless(x)
    y = empty_images(tuple(x.shape), x)
    scale, shift, _ = values
    call("norm_forward", x.dtype, x, y, *_sizes(x, sets=len(scale)), scale, shift, _floor(relu))
    return y


def gradients(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    stats: Statistics,
    values: Sequence[Tensor],
    *,
    eps: float,
    relu: bool,
    through_stats: bool,
    needs_x: bool,
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of input, gain and shift from that of the output; `values` are those of `affine`."""
    x, grad = _gapless(x), _gapless(grad)
    sums = _gradient_sums(x, grad, values, relu=relu)
    coefficients = [torch.empty(stats.mean.shape, dtype=x.dtype) for _ in range(3)]
    of_parameters = [torch.empty(x.shape[2], dtype=x.dtype) for _ in range(2)]
    sizes = (*stats.mean.shape, rows_of_a_set(x, stats))
    given = (weight.contiguous(), float(eps), bool(through_stats))
    call("norm_coefficients", x.dtype, stats.var.contiguous(), sums, *sizes, *given, *coefficients, *of_parameters)
    grad_x = None
    if needs_x:
        grad_x = empty_images(tuple(x.shape), x)
        backward(x, grad, grad_x, relu=relu, values=(*values, *coefficients))
    return grad_x, of_parameters[0], of_parameters[1]


def _gradient_sums(x: Tensor, grad: Tensor, values: Sequence[Tensor], *, relu: bool) -> Tensor:
    """Sums of g = dL/dy before the ReLU and of g (x - mean) in the first sets of float64 [S, 2, C]."""
    sizes = _sizes(x, sets=len(values[0]))
    divided = division.current()
    if divided is None:
        sums = torch.empty(len(x), 2, x.shape[2], dtype=torch.float64)
        call("norm_gradient_sums", x.dtype, x, grad, *sizes, *values, _floor(relu), sums)
        return sums
    which, parts = held.empty_parts(divided, len(x), 2, x.shape[2])
    call("norm_gradient_parts", x.dtype, x, grad, *sizes, *values, _floor(relu), which, parts)
    sums = divided.added(parts)
    call("norm_fold", x.dtype, *sizes, sums)
    return sums


def backward(x: Tensor, grad: Tensor, grad_x: Tensor, *, relu: bool, values: Sequence[Tensor]) -> None:
    """Fill `grad_x`, which may be `grad`, with gain g + slope (x - mean) + offset; images gapless, channels last.

    Args:
        x: the norm's input.
        grad: the gradient of its output; g is `grad` where the ReLU let the output through, and 0 elsewhere.
        grad_x: the gradient of `x`.
        relu: whether there is a ReLU.
        values: scale, shift, mean, gain, slope and offset, [sets, C] each, rounded here to the dtype of `x`.
    """
    rounded = [value.to(x.dtype) for value in values]
    call("norm_backward", x.dtype, x, grad, grad_x, *_sizes(x, sets=len(rounded[0])), _floor(relu), rounded)


def _floor(relu: bool) -> float:
    return 0.0 if relu else -math.inf


def _gapless(x: Tensor) -> Tensor:
    """Images channels last, and step after step in memory."""
    x = channels_last(x)
    return x if len(x) == 1 or x.stride(0) == x[0].numel() else channels_last(x.contiguous())


def _sizes(x: Tensor, *, sets: int) -> tuple[int, ...]:
    """Sizes of norm.cpp: steps, batch, pixels of an image, channels, sets of the norm's values."""
    steps, batch, channels, height, width = x.shape
    return steps, batch, height * width, channels, sets
