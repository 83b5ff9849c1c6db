"""Convolutions and linear layers on the CPU, forward and backward: each part dense or sparse, whichever is faster.

Dense and sparse give the same bits (README.md in the folder above), so the choice is one of speed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.cpu import conv, conv_weight_gradient, sparse_conv
from bpsta_cli.kernels.cpu.conv import PackedWeights, Sizes
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
    plan = planned(operation, x, max_density, training=training)
    if training:
        y: Tensor = _Convolution.apply(x, operation.weight, operation.bias, plan, zero_gradient_without_spike, batch)
    else:
        y = _forward(x, plan, conv.packed_once(layer, operation.weight, operation.bias, plan.group))
    return Output(y, plan.spikes is not None)


class Plan(NamedTuple):
    """How the convolution of certain images is computed.

    Attributes:
        sizes: of the convolution.
        most: up to which density each part is sparse.
        spikes: those of the images, where the output is computed from them; None: it is dense.
        group: filters whose weights lie together.
    """

    sizes: Sizes
    most: MaxDensities
    spikes: SpikeList | None
    group: int

    def sparse_gradients(self, *, needs_x: bool, needs_weight: bool, zero_gradient_without_spike: bool) -> Sparse:
        """Which gradients are computed from the spikes."""
        if self.spikes is None:
            return Sparse(False, False)
        density, most = self.spikes.density, self.most
        return Sparse(
            input_gradient=needs_x and zero_gradient_without_spike and density <= most.input_gradient,
            weight_gradient=needs_weight and density <= most.weight_gradient,
        )


class Sparse(NamedTuple):
    """Which gradients a sparse convolution computes."""

    input_gradient: bool
    weight_gradient: bool


def planned(operation: Operation, x: Tensor, max_density: float | None, *, training: bool) -> Plan:
    """How `operation` is computed for images `x`; `max_density` as in `convolve`."""
    weight = operation.weight
    sizes = conv.sizes_of(x, weight, operation.stride, operation.padding)
    most = _max_densities(sizes, training) if max_density is None else MaxDensities(*[max_density] * 3)
    spikes = None
    if most.output > 0 and sparse_conv.supports(x):
        spikes = sparse_conv.list_spikes(x, sizes, max_density=most.output)
    group = conv.filters_in_group(weight.dtype) if spikes is None else sparse_conv.filters_in_group(len(weight))
    return Plan(sizes, most, spikes, group)


def output(operation: Operation, x: Tensor, plan: Plan) -> Tensor:
    """What `operation` gives for images `x`, without gradient; the weights are packed for it alone."""
    return _forward(x, plan, PackedWeights(operation.weight, operation.bias, plan.group))


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


def _forward(x: Tensor, plan: Plan, weights: PackedWeights) -> Tensor:
    return conv.forward(x, plan.sizes, weights) if plan.spikes is None else sparse_conv.forward(plan.spikes, weights)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        plan: Plan,
        zero_gradient_without_spike: bool,
        batch: int,
    ) -> Tensor:
        needs_x, needs_weight, _ = ctx.needs_input_grad[:3]
        sparse = plan.sparse_gradients(
            needs_x=needs_x, needs_weight=needs_weight, zero_gradient_without_spike=zero_gradient_without_spike
        )
        spikes = plan.spikes if any(sparse) else None
        lists = () if spikes is None else (spikes.starts, spikes.places)
        dense = (x,) if needs_weight and not sparse.weight_gradient else ()
        ctx.save_for_backward(weight, *lists, *dense)  # the lists take half the input's memory, most of it untouched
        ctx.sizes, ctx.batch, ctx.sparse = plan.sizes, batch, sparse
        ctx.density = 0.0 if spikes is None else spikes.density
        # a step changes the weights: there is nothing to keep
        return output(Operation(weight, bias), x, plan)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, *saved = ctx.saved_tensors
        spikes = SpikeList(ctx.sizes, saved[0], saved[1], ctx.density) if any(ctx.sparse) else None
        found = gradients(
            saved[-1] if saved else None,
            weight,
            grad,
            sizes=ctx.sizes,
            batch=ctx.batch,
            spikes=spikes,
            sparse=ctx.sparse,
            needs=ctx.needs_input_grad[:3],
        )
        return *found, None, None, None


def gradients(
    x: Tensor | None,
    weight: Tensor,
    grad: Tensor,
    *,
    sizes: Sizes,
    batch: int,
    spikes: SpikeList | None,
    sparse: Sparse,
    needs: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Gradients of input, weights and bias, as far as `needs` has them, from that of the output.

    Args:
        x: the input, where the weights' gradient is dense.
        weight: of the convolution.
        grad: of its output.
        sizes: of the convolution.
        batch: as in `convolve`.
        spikes: the input's, where a gradient is sparse.
        sparse: which of them are.
        needs: which are asked for.
    """
    grad = grad.contiguous(memory_format=torch.channels_last)
    of_x = of_weight = None
    if needs[0] and spikes is not None and sparse.input_gradient:
        of_x = sparse_conv.input_gradient(spikes, grad, weight)
    elif needs[0]:
        of_x = conv.input_gradient(grad, sizes, weight)
    if needs[1] and spikes is not None and sparse.weight_gradient:
        of_weight = conv_weight_gradient.sparse_weight_gradient(spikes, grad, batch)
    elif needs[1]:
        assert x is not None
        of_weight = conv_weight_gradient.weight_gradient(x, grad, sizes, batch)
    of_bias = conv_weight_gradient.bias_gradient(grad, batch) if needs[2] else None
    return of_x, of_weight, of_bias
