"""The neuron as a plain loop over T: the specification that every other backend is held to.

Derivation, equation numbers and what is detached: README.md beside this file.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.errors import StructureError
from bpsta_cli.kernels.capture import exported
from bpsta_cli.rules import Rule, SilentGradient
from bpsta_cli.surrogates import Sigmoid


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
    if exported():
        return _exported(x.detach(), threshold, decay)
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, threshold, decay, rule, silent, spike_cost)
        return spikes
    spikes, _ = _forward(x, threshold, decay, keep_u=False)
    return spikes


def check_floating(x: Tensor) -> None:
    """Raise StructureError unless `x` is of a floating dtype."""
    if not x.is_floating_point():
        raise StructureError(
            "neuron input of an unusable dtype",
            expected="float64, float32, bfloat16 or float16",
            got=str(x.dtype).removeprefix("torch."),
            todo="Convert it first, as in x.float().",
        )


def _exported(x: Tensor, threshold: float, decay: float) -> Tensor:
    """The spikes by operations that make new tensors, as an export or a trace has to hold them; without gradient."""
    v, spikes = None, []
    for current in x.to(state_dtype(x.dtype)).unbind():
        u = current if v is None else v * decay + current
        o = (u >= threshold).to(u.dtype)
        v = u - u * o
        spikes.append(o.to(x.dtype))
    return torch.stack(spikes)


def lif_step(v: Tensor | None, x: Tensor, *, threshold: float, decay: float) -> tuple[Tensor, Tensor]:
    """One step: spikes o[t] and v[t], without gradient; arguments as in `bpsta_cli.kernels.lif_step`."""
    u = torch.empty_like(x, dtype=state_dtype(x.dtype))
    o, v_new = torch.empty_like(x, requires_grad=False), torch.empty_like(u)
    with torch.no_grad():
        _step(v, x, u=u, o=o, v_out=v_new, threshold=threshold, decay=decay)
    return o, v_new


def state_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of u and v: float64 for float64 inputs, float32 for every other."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _step(v: Tensor | None, x: Tensor, *, u: Tensor, o: Tensor, v_out: Tensor, threshold: float, decay: float) -> None:
    """u = decay v + x (Eq. 4), o = [u >= threshold], v_out = u (1 - o), in place; `v_out` may be `v`."""
    if v is None:
        u.copy_(x)
    else:
        torch.mul(v, decay, out=u).add_(x)
    torch.ge(u, threshold, out=o)
    torch.sub(u, torch.mul(u, o, out=v_out), out=v_out)  # u - u o: exact, o being 0 or 1


def _forward(x: Tensor, threshold: float, decay: float, *, keep_u: bool) -> tuple[Tensor, Tensor]:
    """Spikes in the dtype of `x`, and u of every step (of the last step alone unless `keep_u`)."""
    spikes = torch.empty_like(x, requires_grad=False)
    u = torch.empty_like(x if keep_u else x[:1], dtype=state_dtype(x.dtype), requires_grad=False)
    v = torch.empty_like(u[0])
    for t in range(len(x)):
        _step(
            v if t else None,
            x[t],
            u=u[t if keep_u else 0],
            o=spikes[t],
            v_out=v,
            threshold=threshold,
            decay=decay,
        )
    return spikes, u


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        threshold: float,
        decay: float,
        rule: Rule,
        silent: SilentGradient | None,
        spike_cost: float,
    ) -> Tensor:
        spikes, u = _forward(x, threshold, decay, keep_u=True)
        ctx.save_for_backward(u)
        ctx.threshold, ctx.decay, ctx.rule, ctx.dtype = threshold, decay, rule, x.dtype
        ctx.silent, ctx.spike_cost = silent, spike_cost
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor) -> tuple[Tensor | None, ...]:
        """dL/du[t] = (dL/do[t] + spike_cost) do/du + decay dL/du[t+1] dv/du, and dL/dx[t] = dL/du[t]."""
        (u,) = ctx.saved_tensors
        rule: Rule = ctx.rule
        grad_u = torch.empty_like(u)
        o = torch.empty_like(u[0])
        silent = None if ctx.silent is None else silent_steps(u, ctx.threshold, ctx.silent)
        last = len(u) - 1
        for t in range(last, -1, -1):
            torch.ge(u[t], ctx.threshold, out=o)  # made again: cheaper than keeping T of them
            spike_gradient = rule.spike_gradient(u[t], o, ctx.threshold)
            passed = spike_gradient
            if silent is not None:
                curve = Sigmoid(ctx.silent.width).derivative(u[t] - ctx.threshold)
                passed = torch.where(silent[t], curve, spike_gradient)
            torch.mul(grad_o[t].to(u.dtype) + ctx.spike_cost, passed, out=grad_u[t])
            if t < last:
                reset_gradient = rule.reset_gradient(u[t], o, spike_gradient)
                grad_u[t].add_((grad_u[t + 1] * ctx.decay).mul_(reset_gradient))
        return grad_u.to(ctx.dtype), *[None] * 5


def silent_steps(u: Tensor, threshold: float, silent: SilentGradient) -> Tensor:
    """Where a neuron is silent, [T, ...], from its potentials before the spike: `rules.SilentGradient` has the trace.

    Each difference, product and sum of the trace is rounded by itself, in the dtype of `u`; 1 / tau is a constant.
    """
    result = torch.empty_like(u, dtype=torch.bool)
    trace = torch.zeros_like(u[0])
    for t in range(len(u)):
        o = (u[t] >= threshold).to(u.dtype)
        trace = trace + (o - trace) * (1 / silent.tau)
        torch.lt(trace, silent.limit, out=result[t])
    return result
