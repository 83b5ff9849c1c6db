"""Convolution, or a linear layer seen as one, as an operator."""
# annotations are not postponed: torch.library reads an operator's schema from them

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from bpsta_cli.kernels.cpu import conv, conv_weight_gradient, convolution, held, sparse_conv
from bpsta_cli.kernels.cpu.convolution import Operation


def convolve(
    operation: Operation, x: Tensor, batch: int, max_density: float | None, zero_gradient_without_spike: bool
) -> Tensor:
    """As `cpu.convolution.convolve`; the weights are packed at every call."""
    y: Tensor = _conv(x, *operation, batch, max_density, zero_gradient_without_spike)
    return y


@custom_op("bpsta::conv", mutates_args=())
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    batch: int,  # noqa: ARG001
    max_density: float | None,
    zero_gradient_without_spike: bool,  # noqa: ARG001
) -> Tensor:
    return convolution.output(Operation(weight, bias, stride, padding), x, max_density)


@_conv.register_fake
def _(x: Tensor, weight: Tensor, _bias: Tensor | None, stride: int, padding: int, *_: Any) -> Tensor:
    height, width = (
        (side + 2 * padding - length) // stride + 1 for side, length in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    return x.new_empty(x.shape[0], height, width, weight.shape[0]).permute(0, 3, 1, 2)


@custom_op("bpsta::conv_backward", mutates_args=())
def _conv_backward(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    stride: int,
    padding: int,
    batch: int,
    max_density: float | None,
    zero_gradient_without_spike: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    operation = Operation(weight, None, stride, padding)
    sizes, most, spikes = convolution.planned(operation, x, max_density, training=True)
    of_x, of_weight, of_bias = x.new_empty(0), x.new_empty(0), x.new_empty(0)
    whole = held.all_of(batch)
    grad = grad.contiguous(memory_format=torch.channels_last)
    if needs[0] and zero_gradient_without_spike and spikes is not None and spikes.density <= most.input_gradient:
        of_x = sparse_conv.input_gradient(spikes, grad, weight)
    elif needs[0]:
        of_x = conv.input_gradient(grad, sizes, weight)
    if needs[1] and spikes is not None and spikes.density <= most.weight_gradient:
        of_weight = conv_weight_gradient.sparse_weight_gradient(spikes, grad, whole)
    elif needs[1]:
        of_weight = conv_weight_gradient.weight_gradient(x, grad, sizes, whole)
    if needs[2]:
        of_bias = conv_weight_gradient.bias_gradient(grad, whole)
    return of_x, of_weight, of_bias


@_conv_backward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _grad: Tensor,
    _stride: int,
    _padding: int,
    _batch: int,
    _max_density: float | None,
    _zero_gradient_without_spike: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    images, channels, height, width = x.shape
    empty = x.new_empty(0)
    of_x = x.new_empty(images, height, width, channels).permute(0, 3, 1, 2) if needs[0] else empty
    of_weight = x.new_empty(weight.shape) if needs[1] else empty.clone()
    of_bias = x.new_empty(weight.shape[0]) if needs[2] else empty.clone()
    return of_x, of_weight, of_bias


def _keep_conv(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, weight, _, *ctx.others = inputs
    ctx.save_for_backward(x, weight)


def _conv_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    found = _conv_backward(*ctx.saved_tensors, grad, *ctx.others, needs)
    return *(each if needed else None for each, needed in zip(found, needs, strict=True)), *[None] * 5


_conv.register_autograd(_conv_gradient, setup_context=_keep_conv)
