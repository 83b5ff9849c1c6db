"""Batch norm that is not part of a block, and the tracking of its statistics, as operators."""
# annotations are not postponed: torch.library reads an operator's schema from them

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from bpsta_cli.kernels.block_spec import Statistics
from bpsta_cli.kernels.cpu import norm as cpu_norm
from bpsta_cli.kernels.layouts import empty_images


def norm(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, *, eps: float, relu: bool, through_stats: bool
) -> Tensor:
    """As `cpu.norm.norm`."""
    y: Tensor = _norm(x, weight, bias, stats.mean.detach(), stats.var.detach(), eps, relu, through_stats)
    return y


def track_statistics(
    running_mean: Tensor, running_var: Tensor, stats: Statistics, *, unbiased: float, momentum: float
) -> None:
    """As `cpu.norm.track`."""
    _track_statistics(running_mean, running_var, stats.mean, stats.var, unbiased, momentum)


@custom_op("bpsta::norm", mutates_args=())
def _norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    relu: bool,
    through_stats: bool,  # noqa: ARG001
) -> Tensor:
    return cpu_norm.forward(x, cpu_norm.affine(x, weight, bias, Statistics(mean, var), eps), relu=relu)


@_norm.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return empty_images(tuple(x.shape), x)


@custom_op("bpsta::norm_backward", mutates_args=())
def _norm_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    grad: Tensor,
    eps: float,
    relu: bool,
    through_stats: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    stats = Statistics(mean, var)
    values = cpu_norm.affine(x, weight, bias, stats, eps)
    grad_x, of_weight, of_bias = cpu_norm.gradients(
        x, weight, grad, stats, values, eps=eps, relu=relu, through_stats=through_stats, needs_x=True
    )
    assert grad_x is not None
    return grad_x, of_weight, of_bias


@_norm_backward.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return empty_images(tuple(x.shape), x), torch.empty_like(weight), torch.empty_like(bias)


def _keep_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:5])
    ctx.others = inputs[5:]


def _norm_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_norm_backward(*ctx.saved_tensors, grad, *ctx.others), *[None] * 5


_norm.register_autograd(_norm_gradient, setup_context=_keep_norm)


@custom_op("bpsta::track_statistics", mutates_args=("running_mean", "running_var"))
def _track_statistics(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor, unbiased: float, momentum: float
) -> None:
    cpu_norm.track(running_mean, running_var, Statistics(mean, var), unbiased=unbiased, momentum=momentum)
