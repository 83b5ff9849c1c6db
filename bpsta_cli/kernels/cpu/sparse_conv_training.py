"""The sparse convolution in training: output, weights' and input's gradient, each sparse where that is the faster.

README.md in the folder above says what sparse_conv_backward.cpp computes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.cpu import sparse_conv
from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.cpu.sparse_conv import PackedWeights, Sizes, SpikeList

WEIGHT_MAX_DENSITY = 0.2
"""Density up to which "auto" takes the sparse gradient of the weights, lowered where the last group of filters is not
full: it is as fast as the dense one at 0.2 to 0.25. It, and what follows, were measured on an AVX-512 machine
(`docs/speed.md`)."""
INPUT_MAX_DENSITY = 0.15
"""The same of the input's gradient, where only that at ones is asked for: as fast at 0.17 to 0.2."""
FEW_CHANNELS, FEW_CHANNELS_MAX_DENSITY = 64, 0.1
"""With fewer channels or filters than this, both have this one."""
MIN_CHANNELS_TIMES_FILTERS = 1024
"""Channels x filters below which there is nothing to gain."""


class MaxDensities(NamedTuple):
    """Densities up to which each part is sparse."""

    output: float
    weight_gradient: float
    input_gradient: float


def convolve(
    layer: nn.Conv2d, x: Tensor, *, max_density: float | None = None, zero_gradient_without_spike: bool = False
) -> Tensor | None:
    """As `sparse_conv.convolve`, with gradients of the weights, the bias and the input.

    Args:
        layer: the convolution.
        x: its input [N, C, H, W].
        max_density: density of `x` up to which all parts are sparse; None for up to where each is faster.
        zero_gradient_without_spike: whether the input's gradient comes to nothing where the input is 0, and may be left
            out there, as 0.

    Returns:
        [N, filters, H', W'], channels last in memory; None where a dense convolution is needed.
    """
    if not sparse_conv.supports(layer, x) or (max_density is None and not _is_profitable(layer)):
        return None
    most = _profitable_densities(layer, x) if max_density is None else MaxDensities(*[max_density] * 3)
    spikes = sparse_conv.list_spikes(layer, x, max_density=most.output)
    if spikes is None:
        return None
    weights = PackedWeights(layer.weight, layer.bias)  # a step changes them: there is nothing to keep
    sparse_weight = spikes.density <= most.weight_gradient
    sparse_input = zero_gradient_without_spike and spikes.density <= most.input_gradient
    y: Tensor = _SparseConv.apply(x, layer.weight, layer.bias, spikes, weights, sparse_weight, sparse_input)
    return y


def _is_profitable(layer: nn.Conv2d) -> bool:
    return sparse_conv.is_profitable(layer) and layer.in_channels * layer.out_channels >= MIN_CHANNELS_TIMES_FILTERS


def _profitable_densities(layer: nn.Conv2d, x: Tensor) -> MaxDensities:
    weight, of_input = WEIGHT_MAX_DENSITY, INPUT_MAX_DENSITY
    if min(layer.in_channels, layer.out_channels) < FEW_CHANNELS:
        weight = of_input = FEW_CHANNELS_MAX_DENSITY
    occupancy = sparse_conv.group_occupancy(layer.out_channels)
    return MaxDensities(sparse_conv.profitable_density(layer, x), occupancy * weight, of_input)


class _SparseConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,  # noqa: ARG004 (`weights` has it)
        spikes: SpikeList,
        weights: PackedWeights,
        sparse_weight: bool,
        sparse_input: bool,
    ) -> Tensor:
        needs_x, needs_weight, _ = ctx.needs_input_grad[:3]
        sparse_input, sparse_weight = needs_x and sparse_input, needs_weight and sparse_weight
        lists = (spikes.starts, spikes.places) if sparse_input or sparse_weight else ()
        dense = (x,) if needs_weight and not sparse_weight else ()
        ctx.save_for_backward(weight, *lists, *dense)  # the lists take half the input's memory, most of it untouched
        ctx.sizes, ctx.density, ctx.group, ctx.shape = spikes.sizes, spikes.density, weights.group, x.shape
        ctx.sparse_weight, ctx.sparse_input = sparse_weight, sparse_input
        return sparse_conv.sparse_forward(spikes, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        weight, *saved = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        any_sparse = ctx.sparse_weight or ctx.sparse_input
        spikes = SpikeList(ctx.sizes, saved[0], saved[1], ctx.density) if any_sparse else None
        dense_x, dense_weight = needs_x and not ctx.sparse_input, needs_weight and not ctx.sparse_weight
        of_x = of_weight = None
        if dense_x or dense_weight:
            # without the weights' gradient no more is asked of the input than its shape and order in memory
            x = saved[-1] if dense_weight else torch.empty(ctx.shape, memory_format=torch.channels_last)
            of_x, of_weight = _dense_gradients(ctx.sizes, x, weight, grad, [dense_x, dense_weight, False])
        if spikes is not None and ctx.sparse_input:
            of_x = _sparse_input_gradient(spikes, weight, grad)
        if spikes is not None and ctx.sparse_weight:
            of_weight = _sparse_weight_gradient(spikes, grad, ctx.group)
        of_bias = grad.sum((0, 2, 3)) if needs_bias else None
        return of_x, of_weight, of_bias, None, None, None, None


def _dense_gradients(
    sizes: Sizes, x: Tensor, weight: Tensor, grad: Tensor, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """torch's own gradients of the input and the weights, each where wanted."""
    stride, padding = [sizes.stride] * 2, [sizes.padding] * 2
    backward = torch.ops.aten.convolution_backward
    of_x, of_weight, _ = backward(grad, x, weight, None, stride, padding, [1, 1], False, [0, 0], 1, wanted)
    return of_x, of_weight


def _sparse_weight_gradient(spikes: SpikeList, grad: Tensor, group: int) -> Tensor:
    """Gradient of the weights [filters, C, height, width]."""
    sizes = spikes.sizes
    groups, kernel = math.ceil(sizes.filters / group), (sizes.kernel_height, sizes.kernel_width)
    out = torch.zeros(groups, *kernel, sizes.channels, group)
    call("sparse_conv_weight_gradient", out.dtype, sizes, group, spikes.starts, spikes.places, _rows(grad), out)
    return out.permute(0, 4, 1, 2, 3).flatten(0, 1)[: sizes.filters].permute(0, 3, 1, 2)


def _sparse_input_gradient(spikes: SpikeList, weight: Tensor, grad: Tensor) -> Tensor:
    """Gradient of the input [N, C, H, W] where that is 1, and 0 elsewhere."""
    sizes = spikes.sizes
    out = torch.zeros(sizes.images, sizes.height, sizes.width, sizes.channels)
    rows = weight.detach().permute(2, 3, 1, 0).contiguous()
    call("sparse_conv_input_gradient", out.dtype, sizes, spikes.starts, spikes.places, _rows(grad), rows, out)
    return out.permute(0, 3, 1, 2)


def _rows(grad: Tensor) -> Tensor:
    """[N, filters, H', W'] with the filters of a pixel next to each other."""
    return grad.permute(0, 2, 3, 1).contiguous()
