"""Sums over time steps on the CPU, in the order of the steps: what total.cpp computes."""

from __future__ import annotations

from torch import Tensor

from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.layouts import dense_steps, empty_step


def sum_steps(x: Tensor) -> Tensor:
    """x[0] + x[1] + ..., [T, ...] -> [...] in the layout of a step, without gradient; T > 1, and a supported dtype."""
    x = dense_steps(x.detach())
    out = empty_step(x)
    call("sum_steps", x.dtype, x, x.stride(0), out, len(x), out.numel())
    return out
