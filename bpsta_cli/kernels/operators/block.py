"""Norm, ReLU, neuron and max pooling as one operator, and the norm's statistics as another."""
# annotations are not postponed: torch.library reads an operator's schema from them

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from bpsta_cli.kernels.block_autograd import Backend
from bpsta_cli.kernels.block_spec import BlockSpec, Statistics, inverse_deviation, parameter_gradients
from bpsta_cli.kernels.cpu import block as cpu_block
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.kernels.layouts import channels_last, empty_images
from bpsta_cli.kernels.operators.neuron import numbers_of, spec_of

BLOCK: dict[str, Backend] = {"cpu": cpu_block, "gpu": ops}


def statistics(x: Tensor, *, per_step: bool, backend: str) -> Statistics:
    """As `block_autograd.Backend` has it."""
    return Statistics(*_statistics(x.detach(), per_step, backend))


def block(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec, *, through_stats: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """As `block_autograd.block`."""
    arrays = (x, weight, bias, stats.mean.detach(), stats.var.detach())
    spikes, spike_count = _block(*arrays, numbers_of(spec), spec.steps, spec.pool, through_stats, backend)
    return spikes, spike_count


@custom_op("bpsta::statistics", mutates_args=())
def _statistics(x: Tensor, per_step: bool, backend: str) -> tuple[Tensor, Tensor]:
    mean, var = BLOCK[backend].statistics(x, per_step=per_step)
    return mean, var


@_statistics.register_fake
def _(x: Tensor, per_step: bool, *_: Any) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0] if per_step else 1, x.shape[2])
    return x.new_empty(shape, dtype=torch.float64), x.new_empty(shape, dtype=torch.float64)


@custom_op("bpsta::block", mutates_args=())
def _block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    numbers: Sequence[float],
    steps: int,
    pool: int,
    through_stats: bool,  # noqa: ARG001
    backend: str,
) -> tuple[Tensor, Tensor]:
    x, spec = channels_last(x), spec_of(numbers, steps, pool)
    spikes = _empty_pooled(x, steps, pool)
    return spikes, BLOCK[backend].block_forward(x, weight, bias, Statistics(mean, var), spec, spikes)


def _empty_pooled(x: Tensor, steps: int, pool: int) -> Tensor:
    _, batch, channels, height, width = x.shape
    return empty_images((steps, batch, channels, height // pool, width // pool), x)


@_block.register_fake
def _(
    x: Tensor,
    _weight: Tensor,
    _bias: Tensor,
    _mean: Tensor,
    _var: Tensor,
    _numbers: Sequence[float],
    steps: int,
    pool: int,
    *_: Any,
) -> tuple[Tensor, Tensor]:
    return _empty_pooled(x, steps, pool), x.new_empty((), dtype=torch.float64)


@custom_op("bpsta::block_backward", mutates_args=())
def _block_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    grad: Tensor,
    numbers: Sequence[float],
    steps: int,
    pool: int,
    through_stats: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    x, stats, spec = channels_last(x), Statistics(mean, var), spec_of(numbers, steps, pool)
    grad_x = empty_images(tuple(x.shape), x)
    inputs = (x, weight, bias, stats, spec, channels_last(grad))
    found = BLOCK[backend].block_backward(*inputs, grad_x, through_stats=through_stats)
    return grad_x, *parameter_gradients(inverse_deviation(stats, spec.eps), found, weight)


@_block_backward.register_fake
def _(x: Tensor, weight: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return empty_images(tuple(x.shape), x), torch.empty_like(weight), torch.empty_like(weight)


def _keep_block(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:5])
    ctx.others = inputs[5:]


def _block_gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return *_block_backward(*ctx.saved_tensors, grad, *ctx.others), *[None] * 7


_block.register_autograd(_block_gradient, setup_context=_keep_block)
