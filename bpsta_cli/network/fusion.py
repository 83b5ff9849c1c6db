"""Runs a network's layers; norm-ReLU-neuron-pool, a block, is one operation where a compiled kernel supports it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.distributed import division
from bpsta_cli.kernels.block_spec import POOLS, BlockSpec
from bpsta_cli.network.layers import Conv, MaxPool, ReLU, is_constant
from bpsta_cli.network.neurons import LIF, SpikeActivity
from bpsta_cli.network.norms import FoldedNorm

Layer = TypeVar("Layer", bound=nn.Module)


class Layers(nn.Sequential):
    """Layers one after another, [T, B, ...] in and out."""

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output for the input `x`."""
        return run(list(self), x)


class Fusible(NamedTuple):
    """Neighbouring layers, of which all but the convolution can be computed as one operation, a block."""

    conv: Conv | None
    norm: FoldedNorm
    relu: ReLU | None
    neuron: LIF
    pool: MaxPool | None

    @property
    def length(self) -> int:
        """Number of layers."""
        return sum(layer is not None for layer in self)

    def supports(self, x: Tensor) -> bool:
        """Whether a kernel can compute these layers on input `x` as one operation.

        Where a layer has a hook, each layer is run by itself, so that the hook sees its input and output.
        """
        return (
            self.neuron.active
            and self.norm.has_statistics(x)
            and not any(has_hook(layer) for layer in self if layer is not None)
            and self.neuron.step_mode == "m"
            and kernels.supports_block(x.device, self._dtype(x), self.neuron.rule, backend=self.neuron.backend)
        )

    def _dtype(self, x: Tensor) -> torch.dtype:
        """The dtype of the convolution's output, which under autocast may differ from the dtype of `x`."""
        # autocast leaves float64 alone
        cast = self.conv is not None and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
        return torch.get_autocast_dtype(x.device.type) if cast else x.dtype

    def run(self, x: Tensor) -> Tensor:
        """The output of the layers; running statistics and observers get what the layers one by one give them."""
        norm, neuron, steps = self.norm, self.neuron, len(x)
        if is_constant(x):
            x = x[:1]
        if self.conv is not None:
            x = self.conv(x)
        spec = BlockSpec(
            steps=steps,
            relu=self.relu is not None,
            pool=1 if self.pool is None else window_size(self.pool),
            threshold=neuron.threshold,
            decay=neuron.decay,
            rule=neuron.rule,
            eps=norm.eps,
            silent=neuron.silent,
            spike_cost=neuron.spike_cost,
        )
        gain, shift, given = norm.values(x)
        spikes, spike_count, stats = kernels.block(
            x,
            gain,
            shift,
            spec,
            stats=given,
            per_step=norm.per_step and len(x) > 1,
            # the convolution's output is used here alone, and may be overwritten
            in_place=self.conv is not None and norm.training,
            backend=neuron.backend,
        )
        if given is None:
            norm.track(*stats, rows=division.whole(x[0, :, 0].numel()), steps=steps)
        # the statistics of values that are not all finite are not finite either
        current = stats.mean + stats.var if given is None else x
        neuron.notify(SpikeActivity(spike_count, steps * x[0].numel(), current))
        return spikes


def link_presynaptic(layers: nn.Module) -> None:
    """Give each convolution but the first, whose input is the data, the neurons that its input comes from."""
    presynaptic = tuple(layer for layer in layers.modules() if isinstance(layer, LIF))
    for conv in [layer for layer in layers.modules() if isinstance(layer, Conv)][1:]:
        conv.presynaptic = presynaptic


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run `layers` one after another on `x`, blocks as one operation where a kernel supports it.

    Elsewhere a norm and the ReLU behind it are one operation, where a kernel supports that.
    """
    place = 0
    while place < len(layers):
        found = fusible(layers[place:])
        if found is not None and found.supports(x):
            x = found.run(x)
            place += found.length
        elif (norm := norm_before_relu(layers[place:])) is not None and norm.supports(x):
            x = norm.normalise(x, relu=True)
            place += 2
        else:
            x = layers[place](x)
            place += 1
    return x


def norm_before_relu(layers: Sequence[nn.Module]) -> FoldedNorm | None:
    """The norm at the beginning of `layers`, if a ReLU is behind it and neither has a hook."""
    if len(layers) > 1 and isinstance(layers[0], FoldedNorm) and isinstance(layers[1], ReLU):
        return None if has_hook(layers[0]) or has_hook(layers[1]) else layers[0]
    return None


def has_hook(layer: nn.Module) -> bool:
    """Whether the layer has a hook, which sees its input or output: it is then run by itself."""
    return bool(layer._forward_hooks or layer._forward_pre_hooks)


def fusible(layers: Sequence[nn.Module]) -> Fusible | None:
    """(conv-)norm(-ReLU)-neuron(-pool) at the beginning of `layers`, if that is what they begin with."""
    rest = list(layers[:5])
    conv, norm = _take(rest, Conv), _take(rest, FoldedNorm)
    relu, neuron = _take(rest, ReLU), _take(rest, LIF)
    if norm is None or neuron is None:
        return None
    pool = _take(rest, MaxPool)
    return Fusible(conv, norm, relu, neuron, pool if pool is not None and window_size(pool) in POOLS else None)


def _take(layers: list[nn.Module], kind: type[Layer]) -> Layer | None:
    """Remove the first layer and return it, if it is of this kind."""
    first = layers[0] if layers else None
    if not isinstance(first, kind):
        return None
    del layers[0]
    return first


def window_size(pool: MaxPool) -> int:
    """Height and width, which are equal, of the windows of `pool`."""
    size = pool.kernel_size
    return size if isinstance(size, int) else size[0]
