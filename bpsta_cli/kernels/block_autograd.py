"""The block of norm, ReLU, neuron and pooling as autograd sees it: what is saved, and where the gradient lies.

A backend gives the two passes: cpu/block.py and gpu/ops.py.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.kernels.block_spec import BlockSpec, Statistics, inverse_deviation, parameter_gradients
from bpsta_cli.kernels.layouts import channels_last, empty_images


class Backend(Protocol):
    """What a device has for a block; x [S, B, C, H, W] is channels last, with S = T or, the same at every step, 1."""

    def statistics(self, x: Tensor, *, per_step: bool) -> Statistics:
        """Mean and biased variance of each channel of any x, of each step by itself or of all together."""

    def block_forward(
        self, x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec, spikes: Tensor
    ) -> Tensor:
        """Fill `spikes` [T, B, C, H / pool, W / pool]; how many neurons fired before pooling, a float64 number."""

    def block_backward(
        self,
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
        """Fill `grad_x`, which may be `x` itself, from dL/dspikes.

        `through_stats` says whether the statistics are those of `x`, so that the gradient goes through them too.

        Returns:
            Sums of g = dL/dy, y being the norm's output, and of g (x - mean): float64 [sets, 2, C].
        """


def block(
    backend: Backend,
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stats: Statistics,
    spec: BlockSpec,
    *,
    through_stats: bool,
    in_place: bool,
) -> tuple[Tensor, Tensor]:
    """Spikes and how many neurons fired; arguments as in `bpsta_cli.kernels.block` and `Backend`, unchecked."""
    spikes, spike_count = _Block.apply(x, weight, bias, stats, spec, backend, through_stats, in_place)
    return spikes, spike_count


class _Block(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        stats: Statistics,
        spec: BlockSpec,
        backend: Backend,
        through_stats: bool,
        in_place: bool,
    ) -> tuple[Tensor, Tensor]:
        x = channels_last(x)
        ctx.save_for_backward(x, weight, bias)
        ctx.stats, ctx.spec, ctx.backend = stats, spec, backend
        ctx.through_stats, ctx.in_place = through_stats, in_place
        _, batch, channels, height, width = x.shape
        spikes = empty_images((spec.steps, batch, channels, height // spec.pool, width // spec.pool), x)
        spike_count = backend.block_forward(x, weight, bias, stats, spec, spikes)
        ctx.mark_non_differentiable(spike_count)
        return spikes, spike_count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_spikes: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensors
        backend: Backend = ctx.backend
        stats: Statistics = ctx.stats
        spec: BlockSpec = ctx.spec
        gapless = len(x) > 1 and x.stride(0) == x[0].numel()
        grad_x = x.detach() if ctx.in_place and gapless else empty_images(x.shape, x)
        inputs = (x, weight, bias, stats, spec, channels_last(grad_spikes))
        sums = backend.block_backward(*inputs, grad_x, through_stats=ctx.through_stats)
        if grad_x.data_ptr() == x.data_ptr():
            torch.autograd.graph.increment_version(x)
        return grad_x, *parameter_gradients(inverse_deviation(stats, spec.eps), sums, weight), *[None] * 5
