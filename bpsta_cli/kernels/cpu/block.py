"""Norm, ReLU, neuron and max pooling on the CPU as one operation: the passes that block_autograd.py asks for.

README.md in the folder above says what block_forward.cpp, block_backward.cpp and norm.cpp compute.
"""

from __future__ import annotations

import ctypes
import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli.distributed import division
from bpsta_cli.kernels.block_spec import (
    BlockSpec,
    Statistics,
    inverse_deviation,
    norm_grad_coefficients,
    rows_of_a_set,
)
from bpsta_cli.kernels.cpu import held, norm
from bpsta_cli.kernels.cpu.held import Held
from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.cpu.norm import statistics
from bpsta_cli.kernels.rule_codes import rule_code, silent_code
from bpsta_cli.rules import Rule

__all__ = ["block_backward", "block_forward", "statistics"]


def block_forward(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec, spikes: Tensor
) -> Tensor:
    """As `block_autograd.Backend` has it."""
    spike_count = torch.empty((), dtype=torch.float64)
    call("block_forward", x.dtype, _native_block(x, weight, bias, stats, spec), spikes, spike_count)
    return spike_count


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
    run = functools.partial(_backward, _native_block(x, weight, bias, stats, spec), grad_spikes, spec.rule)
    repeated = len(x) == 1  # its gradient is the sum over the steps, one step of memory
    sums = torch.empty(len(stats.mean), 2, x.shape[2], dtype=torch.float64)
    divided = division.current() if through_stats else None
    if divided is not None:
        which, parts = held.empty_parts(divided, *sums.shape)
        run(BackwardOutputs(sums=parts, total=grad_x if repeated else None), which)
        sums = divided.added(parts)
    elif repeated:
        run(BackwardOutputs(sums=sums, total=grad_x))
    elif through_stats:
        run(BackwardOutputs(sums=sums))
    rows, inverse = rows_of_a_set(x, stats), inverse_deviation(stats, spec.eps)
    coefficients = norm_grad_coefficients(weight, inverse, sums if through_stats else None, rows)
    if repeated:
        of_norm = (*norm.affine(x, weight, bias, stats, spec.eps), *coefficients)
        norm.backward(x, grad_x, grad_x, relu=spec.relu, values=of_norm)
    else:
        values = [value.to(x.dtype) for value in coefficients]
        run(BackwardOutputs(None if through_stats else sums, None, grad_x, *values))
    return sums


class BackwardOutputs(NamedTuple):
    """What block_backward.cpp makes, None what it does not; the same fields in the same order."""

    sums: Tensor | None
    total: Tensor | None = None
    grad_x: Tensor | None = None
    gain: Tensor | None = None
    slope: Tensor | None = None
    offset: Tensor | None = None


def _backward(
    block: ctypes.Structure, grad_spikes: Tensor, rule: Rule, outputs: BackwardOutputs, which: Held | None = None
) -> None:
    """Run the kernel; with `which` its sums are parts that stay apart."""
    code = rule_code(rule)
    assert code is not None  # who calls has asked
    call("block_backward", grad_spikes.dtype, block, grad_spikes, outputs, which, *code)


@functools.cache
def _structure(dtype: torch.dtype) -> type[ctypes.Structure]:
    """block.hpp's Block for a dtype."""
    real = {torch.float32: ctypes.c_float, torch.float64: ctypes.c_double}[dtype]

    class NativeBlock(ctypes.Structure):
        _fields_ = (
            ("x", ctypes.c_void_p),
            *((name, ctypes.c_int64) for name in ("x_step", "steps", "batch", "height", "width", "channels", "pool")),
            *((name, real) for name in ("floor", "threshold", "decay")),
            *((name, ctypes.c_void_p) for name in ("scale", "shift", "mean")),
            ("norm_step", ctypes.c_int64),
            *((name, real) for name in ("spike_cost", "silent_rate", "silent_limit", "silent_width")),
        )

    return NativeBlock


def _native_block(x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec) -> ctypes.Structure:
    present, batch, channels, height, width = x.shape
    values = norm.affine(x, weight, bias, stats, spec.eps)
    block = _structure(x.dtype)(
        x.data_ptr(),
        x.stride(0) if present > 1 else 0,
        *(spec.steps, batch, height, width, channels, spec.pool),
        0.0 if spec.relu else -math.inf,
        spec.threshold,
        spec.decay,
        *(value.data_ptr() for value in values),
        channels if len(stats.mean) > 1 else 0,
        spec.spike_cost,
        *silent_code(spec.silent),
    )
    block.kept = values  # as long as their addresses are
    return block
