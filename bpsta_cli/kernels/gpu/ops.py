"""The neuron and its block on a GPU, or in Triton's interpreter: `lif`, and the passes that block_autograd.py asks for.

kernels.py has what the device runs; README.md in the folder above says what is computed and saved, and how it rounds.
"""

from __future__ import annotations

import functools
import importlib.util
import os
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.distributed import division
from bpsta_cli.kernels.block_spec import (
    BlockSpec,
    Statistics,
    from_moments,
    inverse_deviation,
    norm_grad_coefficients,
    rows_of_a_set,
    scale_and_shift,
)
from bpsta_cli.kernels.capture import asked_once
from bpsta_cli.kernels.gpu.launch import Sizes, run_backward, run_forward, run_moments, values
from bpsta_cli.kernels.layouts import channels_last, dense_steps, empty_like
from bpsta_cli.kernels.reference import state_dtype
from bpsta_cli.kernels.rule_codes import rule_code
from bpsta_cli.rules import BPSA, Rule, SilentGradient

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def unsupported_reason(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """Why the kernels do not support such an input and rule, in one clause; empty if they do.

    Compiles and runs one of them the first time it is asked about a device.
    """
    if dtype not in DTYPES:
        return f"it has no {str(dtype).removeprefix('torch.')}"
    if rule is not None and rule_code(rule) is None:
        return f"it knows the rules stbp, bpsa and bpsta, and not {rule.name}"
    if device.type != default_device().type:
        return f"it runs on {default_device().type} and the input is on {device.type}"
    return str(_tested(device))


@asked_once
def _tested(device: torch.device) -> str:
    return smoke_test(device)


def default_device() -> torch.device:
    """Where the kernels run: a GPU, or the CPU in Triton's interpreter."""
    return torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")


@functools.cache
def smoke_test(device: torch.device) -> str:
    """What one kernel fails with on a device, in one clause; empty if it runs."""
    if device.type == "cuda" and not torch.cuda.is_available():
        return "there is no GPU that torch can use"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    try:
        spikes = lif(torch.ones(2, 1, device=device), threshold=0.5, decay=0.9, rule=BPSA())
        return "" if spikes.sum().item() == 2 else "its first result was wrong"
    except Exception as error:  # whatever a compiler, a driver or a linker says
        return f"a kernel could not be compiled or run: {(str(error) or type(error).__name__).splitlines()[0]}"


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
        ctx.save_for_backward(x)
        ctx.spec = spec
        return forward(x, spec)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return backward(x, error, ctx.spec), None


def forward(x: Tensor, spec: BlockSpec) -> Tensor:
    """Spikes of the neuron, without gradient."""
    x = dense_steps(x.detach())
    spikes = empty_like(x)
    run_forward(x, Sizes.of_steps(x), spec, None, spikes)
    return spikes


def backward(x: Tensor, error: Tensor, spec: BlockSpec) -> Tensor:
    """dL/dx of the neuron from dL/do."""
    x = dense_steps(x.detach())
    if error.stride()[1:] != x.stride()[1:] or error.is_neg():
        error = empty_like(x).copy_(error)
    grad = empty_like(x)
    run_backward(x, Sizes.of_steps(x), spec, None, error, grad=grad)
    return grad


def statistics(x: Tensor, *, per_step: bool) -> Statistics:
    """Mean and biased variance of each channel of x [S, B, C, H, W], of each step by itself or of all together."""
    x = channels_last(x.detach())
    _, batch, _, height, width = x.shape
    origin = x[0, 0, :, 0, 0].to(state_dtype(x.dtype))  # near the mean: what is squared does not cancel
    origin = torch.where(origin.isfinite(), origin, 0)
    divided = division.current()
    if divided is not None:
        origin = divided.from_first(origin)
    sums = _of_all(run_moments(x, origin).sum(1, dtype=torch.float64))
    return from_moments(origin, sums, division.whole(batch * height * width), per_step=per_step)


def _of_all(sums: Tensor) -> Tensor:
    """Sums over the whole batch, where several processes have taken them over a part each."""
    divided = division.current()
    return sums if divided is None else divided.added(sums[None])


def block_forward(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec, spikes: Tensor
) -> Tensor:
    """As `block_autograd.Backend` has it."""
    spike_counts = run_forward(x, Sizes.of_images(x), spec, _norm(x, weight, bias, stats, spec), spikes)
    return spike_counts.sum(dtype=torch.float64)


def block_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stats: Statistics,
    spec: BlockSpec,
    grad_spikes: Tensor,
    grad_x: Tensor,
    *,
    through_stats: bool,
) -> Tensor:
    """As `block_autograd.Backend` has it."""
    norm = _norm(x, weight, bias, stats, spec)
    run = functools.partial(run_backward, x, Sizes.of_images(x), spec, norm, grad_spikes)
    rows, inverse = rows_of_a_set(x, stats), inverse_deviation(stats, spec.eps)
    if through_stats:  # the gradient takes sums over all of x: once for them, and again
        sums = _of_all(run(sums=True).sum(0, dtype=torch.float64))
        run(grad=grad_x, coefficients=values(x, *norm_grad_coefficients(weight, inverse, sums, rows)))
        return sums
    coefficients = values(x, *norm_grad_coefficients(weight, inverse, None, rows))
    return run(sums=True, grad=grad_x, coefficients=coefficients).sum(0, dtype=torch.float64)


def _norm(x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec) -> tuple[Tensor, ...]:
    """The norm as x scale + shift, and its mean."""
    return values(x, *scale_and_shift(weight, bias, stats, spec.eps), stats.mean)
