"""Norm, ReLU, neuron and max pooling on the CPU as one operation, forward and backward.

README.md in the folder above says what block.cpp computes. Beside the weights, the convolution's output alone is
saved for the backward pass.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.block_spec import Block, Statistics, from_moments, parameter_gradients, through_norm
from bpsta_cli.kernels.cpu.library import entry
from bpsta_cli.kernels.layouts import channels_last, empty_images
from bpsta_cli.kernels.rule_codes import numbered
from bpsta_cli.rules import Rule

SHARES = 64
"""In how many shares block.cpp takes its sums."""


def statistics(x: Tensor, *, per_step: bool) -> Statistics:
    """Mean and biased variance of each channel of x [S, B, C, H, W], of each step by itself or of all together."""
    x = channels_last(x.detach())
    steps, batch, channels, height, width = x.shape
    rows = batch * height * width
    origin = x[0, 0, :, 0, 0].contiguous()  # near the mean: what is squared does not cancel
    origin = torch.where(origin.isfinite(), origin, 0)
    sums = torch.zeros(SHARES, steps, 2, channels, dtype=torch.float64)
    entry("moments", x.dtype)(
        _pointer(x),
        *map(ctypes.c_int64, (x.stride(0), steps, rows, channels)),
        _pointer(origin),
        _pointer(sums),
        _threads(),
    )
    return from_moments(origin, sums.sum(0), rows, per_step=per_step)


def block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    seen: Statistics,
    settings: Block,
    *,
    from_batch: bool,
    in_place: bool = False,
) -> tuple[Tensor, Tensor]:
    """max_pool(LIF(ReLU(weight (x - mean) / sqrt(var + eps) + bias))), all T steps at once.

    Args:
        x: output of the convolution [T, B, C, H, W], or [1, B, C, H, W] where it is the same at every step.
        weight: gain of the norm [C].
        bias: shift of the norm [C].
        seen: its statistics; a set a step only for an x of T steps.
        settings: everything else.
        from_batch: whether `seen` are those of `x`, so that the gradient goes through them too.
        in_place: whether the backward pass may put the gradient of `x` where `x` was. It can then be run once, and
            torch tells who needs `x` afterwards.

    Returns:
        Spikes [T, B, C, H / pool, W / pool], rounded down, channels last in memory; and how many neurons fired,
        before pooling, a float64 number in a tensor.
    """
    spikes, fired = _Function.apply(x, weight, bias, seen, settings, from_batch, in_place)
    return spikes, fired


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        seen: Statistics,
        settings: Block,
        from_batch: bool,
        in_place: bool,
    ) -> tuple[Tensor, Tensor]:
        x = channels_last(x)
        ctx.save_for_backward(x, weight, bias)
        ctx.seen, ctx.settings, ctx.from_batch, ctx.in_place = seen, settings, from_batch, in_place
        _, batch, channels, height, width = x.shape
        spikes = empty_images((settings.steps, batch, channels, height // settings.pool, width // settings.pool), x)
        shares = torch.empty(SHARES, dtype=torch.float64)
        entry("block_forward", x.dtype)(
            ctypes.byref(_call(x, weight, bias, seen, settings)), _pointer(spikes), _pointer(shares), _threads()
        )
        fired = shares.sum()
        ctx.mark_non_differentiable(fired)
        return spikes, fired

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        seen: Statistics = ctx.seen
        settings: Block = ctx.settings
        grad = channels_last(grad)
        present, batch, channels, height, width = x.shape
        sums = torch.zeros(SHARES, len(seen.mean), 2, channels, dtype=torch.float64)
        run = functools.partial(_backward, _call(x, weight, bias, seen, settings), grad, settings.rule)
        repeated = present == 1  # its gradient is the sum over the steps, one step of memory
        grad_x = (
            x.detach() if ctx.in_place and not repeated and x.stride(0) == x[0].numel() else empty_images(x.shape, x)
        )
        if repeated:
            run(Wanted(sums=sums, total=grad_x))
        elif ctx.from_batch:
            run(Wanted(sums=sums))
        rows = batch * height * width * (present if len(seen.mean) == 1 else 1)
        through = through_norm(weight, seen, settings.eps, sums.sum(0) if ctx.from_batch else None, rows)
        if repeated:
            _centre(x, grad_x, seen.mean, *through)
        else:
            coefficients = [value.to(x.dtype) for value in through]
            run(Wanted(None if ctx.from_batch else sums, None, grad_x, *coefficients))
        if grad_x.data_ptr() == x.data_ptr():
            torch.autograd.graph.increment_version(x)
        return grad_x, *parameter_gradients(seen, settings.eps, sums.sum(0), weight), None, None, None, None


class Wanted(NamedTuple):
    """What a backward pass of block.cpp makes, None what it does not; the same fields in the same order."""

    sums: Tensor | None
    total: Tensor | None = None
    grad_x: Tensor | None = None
    gain: Tensor | None = None
    slope: Tensor | None = None
    offset: Tensor | None = None


def _backward(call: ctypes.Structure, grad: Tensor, rule: Rule, wanted: Wanted) -> None:
    known = numbered(rule)
    assert known is not None  # who calls has asked
    number, parameter, detach_reset = known
    pointers = (ctypes.c_void_p * len(wanted))(*(None if each is None else each.data_ptr() for each in wanted))
    entry("block_backward", grad.dtype)(
        ctypes.byref(call),
        _pointer(grad),
        pointers,
        ctypes.c_int(number),
        ctypes.c_double(parameter),
        ctypes.c_int(detach_reset),
        _threads(),
    )


def _centre(x: Tensor, grad: Tensor, mean: Tensor, gain: Tensor, slope: Tensor, offset: Tensor) -> None:
    """Batch norm's own backward pass for an x of one step: grad <- gain grad + slope (x - mean) + offset."""
    _, batch, channels, height, width = x.shape
    values = [value.to(x.dtype) for value in (mean, gain, slope, offset)]
    entry("centre", x.dtype)(
        _pointer(x),
        _pointer(grad),
        *map(ctypes.c_int64, (batch * height * width, channels)),
        *map(_pointer, values),
        _threads(),
    )


@functools.cache
def _structure(dtype: torch.dtype) -> type[ctypes.Structure]:
    """block.cpp's Block for a dtype."""
    real = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}[dtype]

    class Call(ctypes.Structure):
        _fields_ = (
            ("x", ctypes.c_void_p),
            *((name, ctypes.c_int64) for name in ("x_step", "steps", "batch", "height", "width", "channels", "pool")),
            *((name, real) for name in ("floor", "threshold", "decay")),
            *((name, ctypes.c_void_p) for name in ("scale", "shift", "mean")),
            ("norm_step", ctypes.c_int64),
        )

    return Call


def _call(x: Tensor, weight: Tensor, bias: Tensor, seen: Statistics, settings: Block) -> ctypes.Structure:
    present, batch, channels, height, width = x.shape
    scale = weight.detach().double() * (seen.var + settings.eps).rsqrt()
    shift = bias.detach().double() - seen.mean * scale
    values = [value.to(x.dtype).contiguous() for value in (scale, shift, seen.mean)]
    call = _structure(x.dtype)(
        x.data_ptr(),
        x.stride(0) if present > 1 else 0,
        *(settings.steps, batch, height, width, channels, settings.pool),
        0.0 if settings.relu else -math.inf,
        settings.threshold,
        settings.decay,
        *(value.data_ptr() for value in values),
        channels if len(seen.mean) > 1 else 0,
    )
    call.kept = values  # as long as their addresses are
    return call


def _pointer(tensor: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def _threads() -> ctypes.c_int:
    return ctypes.c_int(torch.get_num_threads())
