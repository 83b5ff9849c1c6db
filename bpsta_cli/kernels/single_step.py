"""One time step of the neuron with its gradient, for who loops over time: the state goes in and comes out.

Chained over T steps it gives the spikes and gradients of `reference.lif`, in the same operations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.errors import StructureError
from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.reference import check_floating, state_dtype
from bpsta_cli.rules import Rule, SilentGradient
from bpsta_cli.surrogates import Sigmoid


class State(NamedTuple):
    """What a neuron keeps from one step to the next, in the shape of one step.

    Attributes:
        v: membrane potential after the reset; its gradient goes back to the steps before.
        trace: of its spikes, by which a silent gradient is chosen (`rules.SilentGradient`); without a gradient.
    """

    v: Tensor
    trace: Tensor


def single_step(
    state: State | None,
    x: Tensor,
    *,
    threshold: float,
    decay: float,
    rule: Rule,
    silent: SilentGradient | None = None,
    spike_cost: float = 0.0,
) -> tuple[Tensor, State]:
    """Spikes of this step in the dtype of `x`, and the state after it; constants as in `bpsta_cli.kernels.lif`.

    Args:
        state: after the step before; None: the first step, from a potential of 0.
        x: input current of this step [B, ...].
        threshold: of the neuron.
        decay: of the neuron.
        rule: of the neuron.
        silent: of the neuron.
        spike_cost: of the neuron.

    Raises:
        StructureError: `x` of an integer or complex dtype, or a state of another shape or on another device.
    """
    check_floating(x)
    if state is None:
        zeros = torch.zeros_like(x, dtype=state_dtype(x.dtype), requires_grad=False)
        state = State(zeros, zeros)
    elif state.v.shape != x.shape or state.v.device != x.device:
        raise StructureError(
            "neuron state of another batch",
            expected=f"an input of shape {list(state.v.shape)} on {state.v.device}, as in the step before",
            got=f"{list(x.shape)} on {x.device}",
            todo="Call reset() before the first step of each batch.",
        )
    spec = BlockSpec(1, False, 1, threshold, decay, rule, 0.0, silent, spike_cost)
    spikes, v, trace = _Step.apply(x, state.v, state.trace, spec)
    return spikes, State(v, trace)


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, v: Tensor, trace: Tensor, spec: BlockSpec) -> tuple[Tensor, Tensor, Tensor]:
        u = v * spec.decay + x
        o = (u >= spec.threshold).to(u.dtype)
        if spec.silent is not None:
            trace = trace + (o - trace) * (1 / spec.silent.tau)
            ctx.silent = trace < spec.silent.limit
        else:
            trace = trace.clone()
        ctx.save_for_backward(u)
        ctx.spec, ctx.dtype = spec, x.dtype
        ctx.mark_non_differentiable(trace)
        ctx.set_materialize_grads(False)
        return o.to(x.dtype), u - u * o, trace

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_o: Tensor | None, grad_v: Tensor | None, _: Tensor | None
    ) -> tuple[Tensor, Tensor, None, None]:
        """dL/du = (dL/do + spike_cost) do/du + dL/dv dv/du; dL/dx = dL/du, and dL/dv[t-1] = decay dL/du."""
        (u,) = ctx.saved_tensors
        spec: BlockSpec = ctx.spec
        o = (u >= spec.threshold).to(u.dtype)
        spike_gradient = spec.rule.spike_gradient(u, o, spec.threshold)
        passed = spike_gradient
        if spec.silent is not None:
            curve = Sigmoid(spec.silent.width).derivative(u - spec.threshold)
            passed = torch.where(ctx.silent, curve, spike_gradient)
        error = torch.zeros_like(u) if grad_o is None else grad_o.to(u.dtype)
        grad_u = (error + spec.spike_cost) * passed
        if grad_v is not None:
            grad_u += grad_v * spec.rule.reset_gradient(u, o, spike_gradient)
        return grad_u.to(ctx.dtype), grad_u * spec.decay, None, None
