"""Convolutions and linear layers on the CPU, forward and backward: each part dense or sparse, whichever is faster.

Dense and sparse give the same bits (README.md in the folder above), so the choice is one of speed alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bpsta_cli.distributed import division
from bpsta_cli.kernels.cpu import conv, conv_weight_gradient, held, sparse_conv
from bpsta_cli.kernels.cpu.conv import PackedWeights, Sizes
from bpsta_cli.kernels.cpu.held import Held
from bpsta_cli.kernels.cpu.library import unsupported_reason
from bpsta_cli.kernels.cpu.sparse_conv import SpikeList

MAX_DENSITY = 0.3
"""Density (share of ones in its input) up to which "auto" takes the sparse convolution: for 32 to 512 channels and
3 x 3 kernels it is as fast as the dense one at 0.42 and more with AVX2, and as oneDNN's with AVX-512 at 0.27 to 0.35
(`docs/speed.md`)."""
MIN_PRODUCTS = 128
"""Products of an output, over the input's pixels for each of the output's, below which there is nothing to gain."""
WEIGHT_MAX_DENSITY = 0.25
"""Density up to which "auto" takes the sparse gradient of the weights, lowered where the last group of filters is not
full: with AVX2 it takes 0.5 to 0.7 of the dense one's time at 0.2, 0.8 to 0.9 at 0.3, for 16 to 512 channels."""
INPUT_MAX_DENSITY = 0.2
"""The same of the input's gradient, where only that at ones is asked for: as fast at 0.25 to 0.4 with AVX2."""
FEW_CHANNELS, FEW_CHANNELS_MAX_DENSITY = 64, 0.15
"""With fewer channels or filters than this, the input's gradient has this one."""
MIN_CHANNELS_TIMES_FILTERS = 1024
"""Channels x filters below which a training step has nothing to gain."""


class MaxDensities(NamedTuple):
    """Densities up to which each part is sparse."""

    output: float
    weight_gradient: float
    input_gradient: float


class Operation(NamedTuple):
    """A convolution, or a linear layer seen as one.

    Attributes:
        weight: [filters, channels, kernel height, kernel width].
        bias: [filters], or None.
        stride: of rows and columns.
        padding: zeros on each side.
    """

    weight: Tensor
    bias: Tensor | None
    stride: int = 1
    padding: int = 0


class Output(NamedTuple):
    """What a convolution gives, [N, filters, H', W'], channels last in memory, and whether a sparse one made it."""

    images: Tensor
    sparse: bool


def operation_of(layer: nn.Conv2d | nn.Linear) -> Operation | None:
    """What `layer` computes, if the kernels know it."""
    if isinstance(layer, nn.Linear):
        return Operation(layer.weight[:, :, None, None], layer.bias)
    known = (
        layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and all(len(set(pair)) == 1 for pair in (layer.stride, layer.padding))
        and set(layer.dilation) == {1}
    )
    return Operation(layer.weight, layer.bias, layer.stride[0], int(layer.padding[0])) if known else None


def supports(operation: Operation, x: Tensor) -> bool:
    """Whether the kernels compute it for images like `x` [N, C, H, W], whatever their values."""
    weight, bias, _, padding = operation
    return (
        x.dim() == 4
        and x.dtype == weight.dtype
        and (bias is None or bias.dtype == x.dtype)
        and x.device == weight.device
        and x.shape[1] == weight.shape[1]
        and all(side + 2 * padding >= length for side, length in zip(x.shape[2:], weight.shape[2:], strict=True))
        and x.numel() > 0
        and not unsupported_reason(x.device, x.dtype, None)
        and not torch.is_autocast_enabled(x.device.type)  # which asks for another dtype
    )


def convolve(
    layer: nn.Conv2d | nn.Linear,
    operation: Operation,
    x: Tensor,
    *,
    batch: int,
    max_density: float | None,
    zero_gradient_without_spike: bool = False,
) -> Output:
    """What `layer` gives for images `x` [N, C, H, W], with gradients of `x`, the weights and the bias.

    The packed weights are kept for a layer as long as no gradient is asked for.

    Args:
        layer: whose weights they are.
        operation: what it computes; `supports` says yes to it and to `x`.
        x: its input.
        batch: samples; the N images are N / batch steps of them, one step after another.
        max_density: density of `x` up to which all parts are sparse where `x` is of zeros and ones; None for up to
            where each is the faster.
        zero_gradient_without_spike: whether the input's gradient comes to nothing where the input is 0, and may be left
            out there, as 0.
    """
    leaves = (x, operation.weight, *([] if operation.bias is None else [operation.bias]))
    training = torch.is_grad_enabled() and any(leaf.requires_grad for leaf in leaves)
    sizes, most, spikes = planned(operation, x, max_density, training=training)
    if training:
        y: Tensor = _Convolution.apply(
            x, operation.weight, operation.bias, layer, sizes, spikes, most, zero_gradient_without_spike, batch
        )
    else:
        group = _group(spikes, operation.weight)
        y = _forward(x, sizes, spikes, conv.packed_once(layer, operation.weight, operation.bias, group))
    return Output(y, spikes is not None)


def planned(
    operation: Operation, x: Tensor, max_density: float | None, *, training: bool
) -> tuple[Sizes, MaxDensities, SpikeList | None]:
    """How `operation` is computed for images `x`, by `max_density` as in `convolve`.

    Returns:
        Its sizes, up to which density each part is sparse, and the spikes of `x` where the output comes from them.
    """
    sizes = conv.sizes_of(x, operation.weight, operation.stride, operation.padding)
    most = _max_densities(sizes, training) if max_density is None else MaxDensities(*[max_density] * 3)
    spikes = None
    if most.output > 0 and sparse_conv.supports(x):
        spikes = sparse_conv.list_spikes(x, sizes, max_density=most.output)
    return sizes, most, spikes


def output(operation: Operation, x: Tensor, max_density: float | None) -> Tensor:
    """What `operation` gives for images `x`, without gradient; the weights are packed for it alone."""
    sizes, _, spikes = planned(operation, x, max_density, training=False)
    weights = PackedWeights(operation.weight, operation.bias, _group(spikes, operation.weight))
    return _forward(x, sizes, spikes, weights)


def _max_densities(sizes: Sizes, training: bool) -> MaxDensities:
    """Up to which density each part is faster sparse; 0 where none is."""
    products = sizes.channels * sizes.kernel_height * sizes.kernel_width
    if products < MIN_PRODUCTS * sizes.stride**2 or (
        training and sizes.channels * sizes.filters < MIN_CHANNELS_TIMES_FILTERS
    ):
        return MaxDensities(0, 0, 0)
    few = min(sizes.channels, sizes.filters) < FEW_CHANNELS
    occupancy = sparse_conv.group_occupancy(sizes.filters)
    return MaxDensities(
        occupancy * MAX_DENSITY,
        occupancy * WEIGHT_MAX_DENSITY,
        FEW_CHANNELS_MAX_DENSITY if few else INPUT_MAX_DENSITY,
    )


def _group(spikes: SpikeList | None, weight: Tensor) -> int:
    return conv.filters_in_group(weight.dtype) if spikes is None else sparse_conv.filters_in_group(len(weight))


def _forward(x: Tensor, sizes: Sizes, spikes: SpikeList | None, weights: PackedWeights) -> Tensor:
    return conv.forward(x, sizes, weights) if spikes is None else sparse_conv.forward(spikes, weights)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        layer: nn.Conv2d | nn.Linear,
        sizes: Sizes,
        spikes: SpikeList | None,
        most: MaxDensities,
        zero_gradient_without_spike: bool,
        batch: int,
    ) -> Tensor:
        needs_x, needs_weight, _ = ctx.needs_input_grad[:3]
        sparse_input = sparse_weight = False
        if spikes is not None:
            sparse_input = needs_x and zero_gradient_without_spike and spikes.density <= most.input_gradient
            sparse_weight = needs_weight and spikes.density <= most.weight_gradient
        lists = (spikes.starts, spikes.places) if spikes is not None and (sparse_input or sparse_weight) else ()
        dense = (x,) if needs_weight and not sparse_weight else ()
        ctx.save_for_backward(weight, *lists, *dense)  # the lists take half the input's memory, most of it untouched
        ctx.layer, ctx.sizes, ctx.batch, ctx.density = layer, sizes, batch, 0.0 if spikes is None else spikes.density
        ctx.sparse_weight, ctx.sparse_input = sparse_weight, sparse_input
        # a step changes the weights: there is nothing to keep
        return _forward(x, sizes, spikes, PackedWeights(weight, bias, _group(spikes, weight)))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        weight, *saved = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        any_sparse = ctx.sparse_weight or ctx.sparse_input
        spikes = SpikeList(ctx.sizes, saved[0], saved[1], ctx.density) if any_sparse else None
        of_x = of_weight = of_bias = None
        if needs_x and spikes is not None and ctx.sparse_input:
            of_x = sparse_conv.input_gradient(spikes, grad, weight)
        elif needs_x:
            of_x = conv.input_gradient(grad, ctx.sizes, weight)
        if needs_weight and spikes is not None and ctx.sparse_weight:
            listed = spikes
            of_weight = _summed(
                ctx, ctx.layer.weight, lambda which: conv_weight_gradient.sparse_weight_gradient(listed, grad, which)
            )
        elif needs_weight:
            of_weight = _summed(
                ctx,
                ctx.layer.weight,
                lambda which: conv_weight_gradient.weight_gradient(saved[-1], grad, ctx.sizes, which),
            )
        if needs_bias:
            of_bias = _summed(ctx, ctx.layer.bias, lambda which: conv_weight_gradient.bias_gradient(grad, which))
        return of_x, of_weight, of_bias, *[None] * 6


def _summed(ctx: Any, parameter: nn.Parameter, gradient: Callable[[Held], Tensor]) -> Tensor | None:
    """The gradient of a parameter; None where the batch is divided, and the shares of it wait to be exchanged."""
    divided = division.current()
    if divided is None or not divided.ranks.ordered:
        return gradient(held.all_of(ctx.batch))
    if divided.stand_in:
        shares = [parameter.new_zeros(parameter.numel()) for _ in divided.shares]
    else:
        shares = [gradient(which).view(-1) for which in held.each_share(divided)]
    divided.pending.append((parameter, shares))
    return None
