"""The sum over time steps as an operator."""
# annotations are not postponed: torch.library reads an operator's schema from them

from typing import Any

import torch
from torch import Tensor
from torch.library import custom_op

from bpsta_cli.kernels.cpu import sums


def sum_steps(x: Tensor) -> Tensor:
    """As `sums.sum_steps`, with a gradient."""
    total: Tensor = _sum_steps(x)
    return total


@custom_op("bpsta::sum_steps", mutates_args=())
def _sum_steps(x: Tensor) -> Tensor:
    return sums.sum_steps(x).contiguous() if len(x) > 1 else x[0].clone(memory_format=torch.contiguous_format)


@_sum_steps.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[1:])


def _keep_steps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.steps = inputs[0].shape[0]


def _sum_gradient(ctx: Any, grad: Tensor) -> Tensor:
    return grad.expand(ctx.steps, *grad.shape)


_sum_steps.register_autograd(_sum_gradient, setup_context=_keep_steps)
