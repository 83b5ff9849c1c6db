"""What several processes computed of a batch's samples, put together on each of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from bpsta_cli.distributed.division import Division


def of_all(x: Tensor, divided: Division | None) -> Tensor:
    """`x` [T, computed samples, ...] of every process as [T, samples of the batch, ...]; itself where it is whole.

    What follows is computed alike by every process, and its gradient is taken to this one's own samples: so it may be
    any function of the whole batch, such as a mean loss.
    """
    if divided is None:
        return x
    gathered: Tensor = _OfAll.apply(x, divided)
    return gathered


class _OfAll(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, divided: Division) -> Tensor:
        ctx.divided = divided
        return divided.all_samples(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad[:, ctx.divided.computed], None


@contextmanager
def counting(parameters: Sequence[nn.Parameter], divided: Division | None) -> Iterator[None]:
    """While the context is open, gradients are added to those of `parameters`; a stand-in's are taken off at its end.

    Of shares there is nothing to take off: a stand-in's are 0 before they are exchanged.
    """
    if divided is None or divided.ranks.ordered or not divided.stand_in:
        yield
        return
    before = [None if each.grad is None else each.grad.clone() for each in parameters]
    yield
    for parameter, gradient in zip(parameters, before, strict=True):
        if parameter.grad is not None:  # 0 and not None: the processes exchange the same tensors
            parameter.grad = torch.zeros_like(parameter.grad) if gradient is None else gradient
