"""The neuron and its block on a GPU, or in Triton's interpreter: `lif` as in cpu/lif.py, the rest as in cpu/block.py.

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

from bpsta_cli.kernels.block_spec import Block, Statistics, from_moments, parameter_gradients, through_norm
from bpsta_cli.kernels.gpu.launch import Sizes, run_backward, run_forward, run_moments, values
from bpsta_cli.kernels.layouts import channels_last, dense_steps, empty_images, empty_like
from bpsta_cli.kernels.reference import state_dtype
from bpsta_cli.kernels.rule_codes import numbered
from bpsta_cli.rules import BPSA, Rule

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def refusal(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """Why the kernels cannot serve such an input and rule, in one clause; empty when they can.

    Compiles and runs one of them the first time it is asked about a device.
    """
    if dtype not in DTYPES:
        return f"it has no {str(dtype).removeprefix('torch.')}"
    if rule is not None and numbered(rule) is None:
        return f"it knows the rules stbp, bpsa and bpsta, and not {type(rule).__name__}"
    if device.type != home().type:
        return f"it runs on {home().type} and the input is on {device.type}"
    return _trial(device)


def home() -> torch.device:
    """Where the kernels run: a GPU, or the CPU in Triton's interpreter."""
    return torch.device("cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda")


@functools.cache
def _trial(device: torch.device) -> str:
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


def lif(x: Tensor, *, threshold: float, decay: float, rule: Rule) -> Tensor:
    """Spikes of all T steps, [T, ...] -> [T, ...]; arguments as in `bpsta_cli.kernels.lif`, not refused."""
    settings = Block(len(x), False, 1, threshold, decay, rule, 0.0)
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, settings)
        return spikes
    return _fire(x, settings)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: Block) -> Tensor:
        ctx.save_for_backward(x)
        ctx.settings = settings
        return _fire(x, settings)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor) -> tuple[Tensor, None]:
        x = dense_steps(ctx.saved_tensors[0].detach())
        if error.stride()[1:] != x.stride()[1:] or error.is_neg():
            error = empty_like(x).copy_(error)
        grad = empty_like(x)
        run_backward(x, Sizes.of_steps(x), ctx.settings, None, error, grad=grad)
        return grad, None


def _fire(x: Tensor, settings: Block) -> Tensor:
    x = dense_steps(x.detach())
    spikes = empty_like(x)
    run_forward(x, Sizes.of_steps(x), settings, None, spikes)
    return spikes


def statistics(x: Tensor, *, per_step: bool) -> Statistics:
    """Mean and biased variance of each channel of x [S, B, C, H, W], of each step by itself or of all together."""
    x = channels_last(x.detach())
    _, batch, _, height, width = x.shape
    origin = x[0, 0, :, 0, 0].to(state_dtype(x.dtype))  # near the mean: what is squared does not cancel
    origin = torch.where(origin.isfinite(), origin, 0)
    sums, rows = run_moments(x, origin).sum(1, dtype=torch.float64), batch * height * width
    return from_moments(origin, sums, rows, per_step=per_step)


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
    """max_pool(LIF(ReLU(norm(x)))), all T steps at once; arguments and results as in cpu/block.py's.

    With `in_place` the backward pass may put the gradient of `x` where `x` was. It can then be run once, and torch
    tells who needs `x` afterwards.
    """
    spikes, fired = _BlockFunction.apply(x, weight, bias, seen, settings, from_batch, in_place)
    return spikes, fired


class _BlockFunction(torch.autograd.Function):
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
        sizes, pool = Sizes.of_images(x), settings.pool
        pooled = (settings.steps, sizes.images, sizes.channels, sizes.height // pool, sizes.width // pool)
        spikes = empty_images(pooled, x)
        fired = run_forward(x, sizes, settings, _norm(x, weight, bias, seen, settings), spikes)
        total = fired.sum(dtype=torch.float64)
        ctx.mark_non_differentiable(total)
        return spikes, total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, error: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        seen: Statistics = ctx.seen
        settings: Block = ctx.settings
        gapless = len(x) > 1 and x.stride(0) == x[0].numel()
        grad = x.detach() if ctx.in_place and gapless else empty_images(x.shape, x)
        run = functools.partial(
            run_backward, x, Sizes.of_images(x), settings, _norm(x, weight, bias, seen, settings), channels_last(error)
        )
        if ctx.from_batch:  # the gradient takes sums over all of x: once for them, and again
            sums = run(sums=True).sum(0, dtype=torch.float64)
            rows = x[:, :, 0].numel() if len(seen.mean) == 1 else x[0, :, 0].numel()
            run(grad=grad, through=values(x, *through_norm(weight, seen, settings.eps, sums, rows)))
        else:
            through = values(x, *through_norm(weight, seen, settings.eps))
            sums = run(sums=True, grad=grad, through=through).sum(0, dtype=torch.float64)
        if grad.data_ptr() == x.data_ptr():
            torch.autograd.graph.increment_version(x)
        return grad, *parameter_gradients(seen, settings.eps, sums, weight), None, None, None, None


def _norm(x: Tensor, weight: Tensor, bias: Tensor, seen: Statistics, settings: Block) -> tuple[Tensor, ...]:
    """The norm as x scale + shift, and its mean."""
    scale = weight.detach().double() * (seen.var + settings.eps).rsqrt()
    return values(x, scale, bias.detach().double() - seen.mean * scale, seen.mean)
