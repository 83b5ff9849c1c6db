"""Sums whose order is fixed, so that they have the same bits on any machine and for any number of threads.

README.md beside this file has the order. It holds on the CPU; on other devices the sums are torch's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels import operators
from bpsta_cli.kernels.capture import captured, traced
from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.cpu import sums as cpu_sums

BLOCK, LANES = 4096, 16
"""Values that are summed together, and the chains of adds that they go to in turn (cpu/total.cpp has the same)."""


def total(x: Tensor, *, squared: bool = False) -> Tensor:
    """The sum of all values of `x`, or of their squares: a float64 number in a tensor, without gradient.

    The values are taken as they lie in memory; those of an `x` with gaps in memory in the order of its axes.
    """
    return totals([x], squared=squared)[0]


def totals(tensors: Sequence[Tensor], *, squared: bool = False) -> Tensor:
    """`total` of each of several tensors, which are of one dtype and on one device: float64 [len(tensors)]."""
    if not tensors:
        return torch.zeros(0, dtype=torch.float64)
    first = tensors[0]
    if first.device.type != "cpu":
        values = [x.detach().double() for x in tensors]
        return torch.stack([(x * x if squared else x).sum() for x in values])
    flat = [_flat(x if x.dtype in library.DTYPES else x.float()) for x in map(Tensor.detach, tensors)]
    dtype = flat[0].dtype
    if library.unsupported_reason(first.device, dtype, None):
        return torch.tensor([reference_total(x, squared=squared) for x in flat], dtype=torch.float64)
    out, sizes = torch.empty(len(flat), dtype=torch.float64), torch.tensor([len(x) for x in flat])
    library.call("totals", dtype, flat, sizes, len(flat), squared, out)
    return out


def reference_total(x: Tensor, *, squared: bool = False) -> float:
    """As `total`, of x [n] on the CPU, in NumPy; the specification that cpu/total.cpp is held to."""
    values = x.double().numpy()
    if squared:
        values = values * values
    padded = np.zeros(-(-len(values) // BLOCK) * BLOCK)  # a chain is never -0, so adding 0 changes nothing
    padded[: len(values)] = values
    blocks = padded.reshape(-1, BLOCK // LANES, LANES)
    lanes = np.zeros((len(blocks), LANES))
    for place in range(BLOCK // LANES):
        lanes += blocks[:, place]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    result = 0.0
    for block in lanes[:, 0].tolist():
        result += block
    return result


def _flat(x: Tensor) -> Tensor:
    """All values in one row, in the order of memory where there are no gaps, else in that of the axes."""
    x = x.resolve_neg()
    if not x.is_contiguous():
        in_memory = x.permute(sorted(range(x.dim()), key=x.stride, reverse=True))
        x = in_memory if in_memory.is_contiguous() else x.contiguous()
    return x.reshape(-1)


def sum_steps(x: Tensor) -> Tensor:
    """x[0] + x[1] + ..., added in this order: [T, ...] -> [...], without gradient; x of any strides."""
    if captured(x) and x.device.type == "cpu":
        return operators.sum_steps(x)
    x = x.detach()
    if x.device.type != "cpu":
        return x.sum(0)
    if library.unsupported_reason(x.device, x.dtype, None):
        result: Tensor = x[0].clone()
        for t in range(1, len(x)):
            result += x[t]
        return result
    if len(x) == 1:
        first: Tensor = x[0]
        return first
    return cpu_sums.sum_steps(x)


def repeated(x: Tensor, steps: int) -> Tensor:
    """`x` [...] as [steps, ...] in the memory of one step; the gradient is summed in the order of the steps."""
    if steps == 1:
        return x.unsqueeze(0)
    if traced():  # which keeps torch's own operations alone
        return x.unsqueeze(0).expand(steps, *x.shape)
    repetition: Tensor = _Repeated.apply(x, steps)
    return repetition


class _Repeated(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, x: Tensor, steps: int) -> Tensor:
        return x.unsqueeze(0).expand(steps, *x.shape)

    @staticmethod
    @once_differentiable
    def backward(_ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return sum_steps(grad), None


def mean_over(x: Tensor, axis: int) -> Tensor:
    """The mean over a short axis (time steps, voters), its values added in the order of their numbers."""
    if captured(x):
        return sum_steps(x.movedim(axis, 0)) / x.shape[axis]
    mean: Tensor = _MeanOver.apply(x, axis)
    return mean


class _MeanOver(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int) -> Tensor:
        ctx.axis, ctx.count = axis, x.shape[axis]
        mean: Tensor = sum_steps(x.movedim(axis, 0)) / ctx.count
        return mean

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        shape = list(grad.shape)
        axis = ctx.axis % (len(shape) + 1)
        shape.insert(axis, ctx.count)
        return (grad / ctx.count).unsqueeze(axis).expand(shape), None
