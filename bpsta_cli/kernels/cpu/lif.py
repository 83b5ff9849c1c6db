"""The neuron on the CPU, fused: all steps of a chunk of elements in one pass over memory, forward and backward.

README.md in the folder above says what lif.cpp computes, and how it rounds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.block_spec import BlockSpec
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
    spec = BlockSpec(len(x), False, 1, threshold, decay, rule, 0.0, silent, spike_cost)
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, spec)
        return spikes
    return forward(x, spec)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, spec: BlockSpec) -> Tensor:
        ctx.save_for_backward(x)  # most often the output of a ReLU, which has saved it already
        ctx.spec = spec
        return forward(x, spec)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return backward(x, grad_o, ctx.spec), None


def forward(x: Tensor, spec: BlockSpec) -> Tensor:
    """Spikes, without gradient."""
    x = dense_steps(x.detach())
    spikes = empty_like(x)
    constants = (float(spec.threshold), float(spec.decay))
    call("lif_forward", x.dtype, x, x.stride(0), spikes, len(x), step_size(x), *constants)
    return spikes


def backward(x: Tensor, error: Tensor, spec: BlockSpec) -> Tensor:
    """dL/dx from dL/do."""
    x = dense_steps(x.detach())
    if error.stride()[1:] != x.stride()[1:] or error.is_neg():
        error = empty_like(x).copy_(error)
    grad_x = empty_like(x)
    code = rule_code(spec.rule)
    assert code is not None  # dispatch asked
    arrays = (x, x.stride(0), error, error.stride(0), grad_x)
    both = (float(spec.threshold), float(spec.decay))
    constants = (*both, *silent_code(spec.silent), float(spec.spike_cost))
    complete = call("lif_backward", x.dtype, *arrays, len(x), step_size(x), *constants, *code)
    if not complete:
        raise MemoryError(f"no memory for the potentials of {len(x)} steps")
    return grad_x
