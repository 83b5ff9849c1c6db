"""The neuron on the CPU, fused: all steps of a chunk of elements in one pass over memory, forward and backward.

README.md in the folder above says what lif.cpp computes, and how it rounds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.layouts import dense_steps, empty_like, step_size
from bpsta_cli.kernels.rule_codes import rule_code, silent_code
from bpsta_cli.rules import Rule, SilentGradient


def lif(
    x: Tensor,
    *,
    threshold: float,
    decay: float,
    rule: Rule,
    silent: SilentGradient | None = None,
    spike_cost: float = 0.0,
) -> Tensor:
    """Spikes of all T steps, [T, ...] -> [T, ...]; arguments as in `bpsta_cli.kernels.lif`, unchecked."""
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, _Backward(threshold, decay, rule, silent, spike_cost))
        return spikes
    return _forward(x, threshold, decay)


class _Backward(NamedTuple):
    """What the backward pass follows; fields as in `lif`."""

    threshold: float
    decay: float
    rule: Rule
    silent: SilentGradient | None
    spike_cost: float


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: _Backward) -> Tensor:
        ctx.save_for_backward(x)  # most often the output of a ReLU, which has saved it already
        ctx.settings = settings
        return _forward(x, settings.threshold, settings.decay)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return _backward(x, grad_o, ctx.settings), None


def _forward(x: Tensor, threshold: float, decay: float) -> Tensor:
    x = dense_steps(x.detach())
    spikes = empty_like(x)
    constants = (float(threshold), float(decay))
    call("lif_forward", x.dtype, x, x.stride(0), spikes, len(x), step_size(x), *constants)
    return spikes


def _backward(x: Tensor, grad_o: Tensor, settings: _Backward) -> Tensor:
    x = dense_steps(x.detach())
    if grad_o.stride()[1:] != x.stride()[1:] or grad_o.is_neg():
        grad_o = empty_like(x).copy_(grad_o)
    grad_x = empty_like(x)
    code = rule_code(settings.rule)
    assert code is not None  # dispatch asked
    arrays = (x, x.stride(0), grad_o, grad_o.stride(0), grad_x)
    neuron = (float(settings.threshold), float(settings.decay))
    constants = (*neuron, *silent_code(settings.silent), float(settings.spike_cost))
    complete = call("lif_backward", x.dtype, *arrays, len(x), step_size(x), *constants, *code)
    if not complete:
        raise MemoryError(f"no memory for the potentials of {len(x)} steps")
    return grad_x
