"""The neuron on the CPU, fused: all steps of a block of elements in one pass over memory, forward and backward.

README.md in the folder above says what lif.cpp computes, and how it rounds.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.cpu.library import entry
from bpsta_cli.kernels.layouts import dense_steps, empty_like, step_size
from bpsta_cli.kernels.rule_codes import numbered
from bpsta_cli.rules import Rule


def lif(x: Tensor, *, threshold: float, decay: float, rule: Rule) -> Tensor:
    """Spikes of all T steps, [T, ...] -> [T, ...]; arguments as in `bpsta_cli.kernels.lif`, not refused."""
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, threshold, decay, rule)
        return spikes
    return _forward(x, threshold, decay)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, decay: float, rule: Rule) -> Tensor:
        ctx.save_for_backward(x)  # most often the output of a ReLU, which has saved it already
        ctx.threshold, ctx.decay, ctx.rule = threshold, decay, rule
        return _forward(x, threshold, decay)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return _backward(x, grad_o, ctx.threshold, ctx.decay, ctx.rule), None, None, None


def _forward(x: Tensor, threshold: float, decay: float) -> Tensor:
    x = dense_steps(x.detach())
    spikes = empty_like(x)
    entry("forward", x.dtype)(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_int64(x.stride(0)),
        ctypes.c_void_p(spikes.data_ptr()),
        ctypes.c_int64(len(x)),
        ctypes.c_int64(step_size(x)),
        ctypes.c_double(threshold),
        ctypes.c_double(decay),
        ctypes.c_int(torch.get_num_threads()),
    )
    return spikes


def _backward(x: Tensor, grad_o: Tensor, threshold: float, decay: float, rule: Rule) -> Tensor:
    x = dense_steps(x.detach())
    if grad_o.stride()[1:] != x.stride()[1:] or grad_o.is_neg():
        grad_o = empty_like(x).copy_(grad_o)
    grad_x = empty_like(x)
    known = numbered(rule)
    assert known is not None  # dispatch asked
    number, parameter, detach_reset = known
    complete = entry("backward", x.dtype)(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_int64(x.stride(0)),
        ctypes.c_void_p(grad_o.data_ptr()),
        ctypes.c_int64(grad_o.stride(0)),
        ctypes.c_void_p(grad_x.data_ptr()),
        ctypes.c_int64(len(x)),
        ctypes.c_int64(step_size(x)),
        ctypes.c_double(threshold),
        ctypes.c_double(decay),
        ctypes.c_int(number),
        ctypes.c_double(parameter),
        ctypes.c_int(detach_reset),
        ctypes.c_int(torch.get_num_threads()),
    )
    if not complete:
        raise MemoryError(f"no memory for the potentials of {len(x)} steps")
    return grad_x
