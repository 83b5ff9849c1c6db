"""The convolution of spikes in training: forward and gradients as sums over events, each where that is the faster.

README.md in the folder above says what sparse_conv_backward.cpp computes.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.cpu import sparse_conv
from bpsta_cli.kernels.cpu.library import entry
from bpsta_cli.kernels.cpu.sparse_conv import Listed, Sizes, Weights, pointer, threads

WEIGHTS_LIMIT = 0.2
"""Share of ones up to which "auto" takes the weights' gradient over events, lowered where the last block of filters is
not full: it breaks even at 0.2 to 0.25. It, and what follows, were measured on an AVX-512 machine (`docs/speed.md`)."""
INPUT_LIMIT = 0.15
"""The same of the input's gradient where only that at ones is asked for: it breaks even at 0.17 to 0.2."""
THIN, THIN_LIMIT = 64, 0.1
"""With fewer channels or filters than this, both have this limit."""
FEWEST = 1024
"""Channels x filters below which there is nothing to gain."""


class Limits(NamedTuple):
    """Shares of ones up to which each part is computed over events."""

    output: float
    weights: float
    input: float


def serve(layer: nn.Conv2d, x: Tensor, *, limit: float | None = None, silent: bool = False) -> Tensor | None:
    """As `sparse_conv.serve`, with gradients of the weights, the bias and the input.

    Args:
        layer: the convolution.
        x: its input [N, C, H, W].
        limit: share of ones in `x` up to which everything is computed over events; None for up to where each is faster.
        silent: whether the input's gradient comes to nothing where the input is 0, and may be left out there.

    Returns:
        [N, filters, H', W'], channels last in memory; None where a dense convolution has to serve.
    """
    if not sparse_conv.serves(layer, x) or (limit is None and not _worth(layer)):
        return None
    limits = _fastest(layer, x) if limit is None else Limits(limit, limit, limit)
    listed = sparse_conv.listing(layer, x, limit=limits.output)
    if listed is None:
        return None
    weights = Weights(layer.weight, layer.bias)  # a step changes them: there is nothing to keep
    over_weights, over_input = listed.share <= limits.weights, silent and listed.share <= limits.input
    summed: Tensor = _Function.apply(x, layer.weight, layer.bias, listed, weights, over_weights, over_input)
    return summed


def _worth(layer: nn.Conv2d) -> bool:
    return sparse_conv.worth(layer) and layer.in_channels * layer.out_channels >= FEWEST


def _fastest(layer: nn.Conv2d, x: Tensor) -> Limits:
    thin = min(layer.in_channels, layer.out_channels) < THIN
    of_weights, of_input = (THIN_LIMIT, THIN_LIMIT) if thin else (WEIGHTS_LIMIT, INPUT_LIMIT)
    return Limits(sparse_conv.fastest(layer, x), sparse_conv.used(layer.out_channels) * of_weights, of_input)


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,  # noqa: ARG004 (`weights` has it)
        listed: Listed,
        weights: Weights,
        over_weights: bool,
        over_input: bool,
    ) -> Tensor:
        needs_x, needs_weight, _ = ctx.needs_input_grad[:3]
        over_input, over_weights = needs_x and over_input, needs_weight and over_weights
        lists = (listed.starts, listed.places) if over_input or over_weights else ()
        dense = (x,) if needs_weight and not over_weights else ()
        ctx.save_for_backward(weight, *lists, *dense)  # the lists take half the input's memory, most of it untouched
        ctx.sizes, ctx.share, ctx.block, ctx.shape = listed.sizes, listed.share, weights.block, x.shape
        ctx.over_weights, ctx.over_input = over_weights, over_input
        return sparse_conv.summed(listed, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        weight, *saved = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        over_events = ctx.over_weights or ctx.over_input
        listed = Listed(ctx.sizes, saved[0], saved[1], ctx.share) if over_events else None
        dense_x, dense_weight = needs_x and not ctx.over_input, needs_weight and not ctx.over_weights
        of_x = of_weight = None
        if dense_x or dense_weight:
            # without the weights' gradient no more is asked of the input than its shape and order in memory
            x = saved[-1] if dense_weight else torch.empty(ctx.shape, memory_format=torch.channels_last)
            of_x, of_weight = _dense(ctx.sizes, x, weight, grad, [dense_x, dense_weight, False])
        if listed is not None and ctx.over_input:
            of_x = _of_input(listed, weight, grad)
        if listed is not None and ctx.over_weights:
            of_weight = _of_weights(listed, grad, ctx.block)
        of_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return of_x, of_weight, of_bias, None, None, None, None


def _dense(
    sizes: Sizes, x: Tensor, weight: Tensor, grad: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """torch's own gradients of the input and the weights, each where wanted."""
    stride, padding = [sizes.stride] * 2, [sizes.padding] * 2
    backward = torch.ops.aten.convolution_backward
    of_x, of_weight, _ = backward(grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, wanted)
    return of_x, of_weight


def _of_weights(listed: Listed, grad: Tensor, block: int) -> Tensor:
    """Gradient of the weights [filters, C, height, width]."""
    sizes = listed.sizes
    blocks, window = math.ceil(sizes.filters / block), (sizes.kernel_height, sizes.kernel_width)
    out = torch.zeros(blocks, *window, sizes.channels, block)
    entry("events_weights", out.dtype)(
        ctypes.byref(sizes),
        ctypes.c_int64(block),
        *map(pointer, (listed.starts, listed.places, _rows(grad), out)),
        threads(),
    )
    return out.permute(0, 4, 1, 2, 3).flatten(0, 1)[: sizes.filters].permute(0, 3, 1, 2)


def _of_input(listed: Listed, weight: Tensor, grad: Tensor) -> Tensor:
    """Gradient of the input [N, C, H, W] where that is 1, and 0 elsewhere."""
    sizes = listed.sizes
    out = torch.zeros(sizes.images, sizes.height, sizes.width, sizes.channels)
    rows = weight.detach().permute(2, 3, 1, 0).contiguous()
    entry("events_input", out.dtype)(
        ctypes.byref(sizes), *map(pointer, (listed.starts, listed.places, _rows(grad), rows, out)), threads()
    )
    return out.permute(0, 3, 1, 2)


def _rows(grad: Tensor) -> Tensor:
    """[N, filters, H', W'] with the filters of a pixel next to each other."""
    return grad.permute(0, 2, 3, 1).contiguous()
