"""Norm, ReLU, neuron and max pooling as one operation, on the backend that is chosen."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import block_autograd, dispatch, operators
from bpsta_cli.kernels.block_spec import BlockSpec, Statistics
from bpsta_cli.kernels.capture import captured
from bpsta_cli.kernels.cpu import block as cpu_block
from bpsta_cli.kernels.gpu import ops

BLOCK_BACKENDS: dict[str, block_autograd.Backend] = {"cpu": cpu_block, "gpu": ops}


class BlockOutput(NamedTuple):
    """What a block of norm, ReLU, neuron and pooling gives.

    Attributes:
        spikes: [T, B, C, H / pool, W / pool], rounded down, channels last in memory.
        spike_count: how many neurons fired, before pooling: a float64 number in a tensor.
        stats: the norm's statistics, those given or those of the input.
    """

    spikes: Tensor
    spike_count: Tensor
    stats: Statistics


def block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    spec: BlockSpec,
    *,
    stats: Statistics | None = None,
    per_step: bool = False,
    in_place: bool = False,
    backend: str = "auto",
) -> BlockOutput:
    """max_pool(LIF(ReLU(weight (x - mean) / sqrt(var + eps) + bias))), all T steps as one operation.

    Args:
        x: output of a convolution [T, B, C, H, W], or [1, B, C, H, W] where it is the same at every step.
        weight: gain of the norm [C].
        bias: shift of the norm [C].
        spec: everything else, with constants as in `lif`.
        stats: the norm's statistics, held constant; None for those of `x`, through which the gradient goes too.
        per_step: whether each step of an x of T steps has statistics of its own, where they are those of `x`.
        in_place: whether the backward pass may put the gradient of `x` where `x` was. It can then be run once, and
            torch raises an error for whoever needs `x` afterwards.
        backend: one of `dispatch.BACKENDS`.

    Raises:
        SettingsError: there is no block for this input, rule and backend: `supports_block` says so.
    """
    chosen = dispatch.choose(backend, device=x.device, dtype=x.dtype, rule=spec.rule)
    if chosen.name not in BLOCK_BACKENDS:
        raise SettingsError(
            "no backend for a block",
            expected=f"an input and a rule that one of {', '.join(BLOCK_BACKENDS)} supports",
            got=f"the backend {chosen.name} ({chosen.why})",
            todo="Run norm, ReLU, neuron and pooling one by one.",
        )
    if captured(x):
        return _captured_block(x, weight, bias, spec, stats, per_step=per_step, backend=chosen.name)
    passes = BLOCK_BACKENDS[chosen.name]
    given = stats is not None
    stats = stats if stats is not None else passes.statistics(x, per_step=per_step)
    spikes, spike_count = block_autograd.block(
        passes, x, weight, bias, stats, spec, through_stats=not given, in_place=in_place
    )
    return BlockOutput(spikes, spike_count, stats)


def _captured_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    spec: BlockSpec,
    given: Statistics | None,
    *,
    per_step: bool,
    backend: str,
) -> BlockOutput:
    stats = operators.statistics(x, per_step=per_step, backend=backend) if given is None else given
    spikes, spike_count = operators.block(x, weight, bias, stats, spec, through_stats=given is None, backend=backend)
    return BlockOutput(spikes, spike_count, stats)


def supports_block(device: torch.device, dtype: torch.dtype, rule: rules.Rule, *, backend: str = "auto") -> bool:
    """Whether `block` can run for such an input, rule and backend."""
    return dispatch.choose(backend, device=device, dtype=dtype, rule=rule).name in BLOCK_BACKENDS
