"""Runs a network's layers, norm-ReLU-neuron-pool as one operation wherever the compiled kernels support it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.kernels.block_spec import POOLS, BlockSpec, Statistics
from bpsta_cli.network.layers import Conv, MaxPool, ReLU, is_constant
from bpsta_cli.network.neurons import LIF, Firing
from bpsta_cli.network.norms import FoldedNorm

Layer = TypeVar("Layer", bound=nn.Module)


class Layers(nn.Sequential):
    """Layers one after another, [T, B, ...] in and out."""

    def forward(self, x: Tensor) -> Tensor:
        """The last layer's output for the input `x`."""
        return run(list(self), x)


class Fusible(NamedTuple):
    """Neighbouring layers that one operation can stand for; the convolution is run beside it."""

    conv: Conv | None
    norm: FoldedNorm
    relu: ReLU | None
    neuron: LIF
    pool: MaxPool | None

    @property
    def length(self) -> int:
        """How many layers it stands for."""
        return sum(layer is not None for layer in self)

    def supports(self, x: Tensor) -> bool:
        """Whether the kernel can take the place of these layers on input `x`, and nothing would miss them.

        A layer with a hook is run by itself, so that the hook sees its input and output.
        """
        # torch's own batch norm refuses a single value a channel, in its words
        several = not self.norm.training or x.shape[0] * x[0, :, 0].numel() > 1
        return (
            self.neuron.active
            and several
            and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in self if layer is not None)
            and kernels.supports_block(x.device, self._dtype(x), self.neuron.rule, backend=self.neuron.backend)
        )

    def _dtype(self, x: Tensor) -> torch.dtype:
        """What the convolution makes of `x`, which is not always of its type under autocast."""
        # autocast leaves float64 alone
        cast = self.conv is not None and torch.is_autocast_enabled(x.device.type) and x.dtype != torch.float64
        return torch.get_autocast_dtype(x.device.type) if cast else x.dtype

    def run(self, x: Tensor) -> Tensor:
        """What the layers give one after another; the norm's running statistics and watchers are told the same."""
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
        )
        spikes, spike_count, stats = kernels.block(
            x,
            norm.gain,
            norm.bias,
            spec,
            stats=None if norm.training else Statistics(*(value.double()[None] for value in norm.running())),
            per_step=norm.per_step and len(x) > 1,
            in_place=self.conv is not None and norm.training,  # nobody else has seen what the convolution gave
            backend=neuron.backend,
        )
        if norm.training:
            norm.track(*stats, rows=x[0, :, 0].numel(), steps=steps)
        # a value that is not finite makes the statistics so
        neuron.tell(Firing(spike_count, steps * x[0].numel(), stats.mean + stats.var if norm.training else x))
        return spikes


def connect(layers: nn.Module) -> None:
    """Tell each convolution but the first, which sees the input, that what comes to it was sent by neurons."""
    senders = tuple(layer for layer in layers.modules() if isinstance(layer, LIF))
    for conv in [layer for layer in layers.modules() if isinstance(layer, Conv)][1:]:
        conv.senders = senders


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run `layers` one after another on `x`, as one operation where that is supported."""
    place = 0
    while place < len(layers):
        found = fusible(layers[place:])
        if found is not None and found.supports(x):
            x = found.run(x)
            place += found.length
        else:
            x = layers[place](x)
            place += 1
    return x


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
    """Side of its square windows, in neurons."""
    size = pool.kernel_size
    return size if isinstance(size, int) else size[0]
