"""Runs a network's layers, norm-ReLU-neuron-pool as one operation wherever the compiled kernel can serve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from bpsta_cli.kernels import BLOCKS, dispatch
from bpsta_cli.kernels.block_spec import POOLS, Block, Statistics
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

    def serves(self, x: Tensor) -> bool:
        """Whether the kernel can take the place of these layers on input `x`, and nothing would miss them.

        A layer with a hook is run by itself, so that the hook sees its input and output.
        """
        # torch's own batch norm refuses a single value a channel, in its words
        several = not self.norm.training or x.shape[0] * x[0, :, 0].numel() > 1
        return (
            self.neuron.active
            and several
            and not any(layer._forward_hooks or layer._forward_pre_hooks for layer in self if layer is not None)
            and self._backend(x, self._dtype(x)) in BLOCKS
        )

    def _backend(self, x: Tensor, dtype: torch.dtype) -> str:
        return dispatch.choose(self.neuron.backend, device=x.device, dtype=dtype, rule=self.neuron.rule).name

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
        kernel = BLOCKS[self._backend(x, x.dtype)]
        if norm.training:
            seen = kernel.statistics(x, per_step=norm.per_step and len(x) > 1)
            norm.track(*seen, rows=x[0, :, 0].numel(), steps=steps)
        else:
            seen = Statistics(*(value.double()[None] for value in norm.running()))
        settings = Block(
            steps=steps,
            relu=self.relu is not None,
            pool=1 if self.pool is None else side(self.pool),
            threshold=neuron.threshold,
            decay=neuron.decay,
            rule=neuron.rule,
            eps=norm.eps,
        )
        # nobody but this norm has seen what the convolution gave
        mine = self.conv is not None and norm.training
        spikes: Tensor
        spikes, fired = kernel.block(x, norm.gain, norm.bias, seen, settings, from_batch=norm.training, in_place=mine)
        # a value that is not finite makes the statistics so
        neuron.tell(Firing(fired, steps * x[0].numel(), seen.mean + seen.var if norm.training else x))
        return spikes


def connect(layers: nn.Module) -> None:
    """Tell each convolution but the first, which sees the input, that what comes to it was sent by neurons."""
    senders = tuple(layer for layer in layers.modules() if isinstance(layer, LIF))
    for conv in [layer for layer in layers.modules() if isinstance(layer, Conv)][1:]:
        conv.senders = senders


def run(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    """Run `layers` one after another on `x`, as one operation where that can serve."""
    place = 0
    while place < len(layers):
        found = fusible(layers[place:])
        if found is not None and found.serves(x):
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
    return Fusible(conv, norm, relu, neuron, pool if pool is not None and side(pool) in POOLS else None)


def _take(layers: list[nn.Module], kind: type[Layer]) -> Layer | None:
    """Remove the first layer and return it, if it is of this kind."""
    first = layers[0] if layers else None
    if not isinstance(first, kind):
        return None
    del layers[0]
    return first


def side(pool: MaxPool) -> int:
    """Side of its square windows."""
    size = pool.kernel_size
    return size if isinstance(size, int) else size[0]
