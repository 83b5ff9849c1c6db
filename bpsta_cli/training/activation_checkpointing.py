"""Training in less memory: what lies between a block's input and its output is computed again when it is needed.

Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174, with a convolution or linear
layer and all that follows it up to the next, or a residual block, as the unit. torch.utils.checkpoint does the
rest; gradients are the same bit for bit where the layers are deterministic.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bpsta_cli.network import Network
from bpsta_cli.network.fusion import run
from bpsta_cli.network.layers import Conv, Linear
from bpsta_cli.network.neurons import LIF


def votes(network: Network, x: Tensor) -> Tensor:
    """`network.votes(x)` that keeps for the backward pass no more than each unit's input.

    Running statistics are updated once, watchers are told once, and dropout draws the same masks again.
    """
    *early, last = units(network.layers)
    x = network.seen(x)
    for unit in early:
        x = _recomputed(unit, x)
    return run(last, x)  # the backward pass begins with it: it would be computed again at once


def units(layers: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """The layers in order, a new unit at every layer with weights of its own and every residual block."""
    found: list[list[nn.Module]] = [[]]
    for layer in _flat(layers):
        begins = isinstance(layer, (Conv, Linear)) or any(layer.children())
        if begins and found[-1]:
            found.append([])
        found[-1].append(layer)
    return found


def _flat(layers: Iterable[nn.Module]) -> Iterator[nn.Module]:
    for layer in layers:
        if isinstance(layer, nn.Sequential):
            yield from _flat(layer)
        else:
            yield layer


def _recomputed(unit: Sequence[nn.Module], x: Tensor) -> Tensor:
    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _unnoticed(unit)

    result: Tensor = checkpoint(run, unit, x, use_reentrant=False, context_fn=contexts)
    return result


@contextmanager
def _unnoticed(unit: Sequence[nn.Module]) -> Iterator[None]:
    """While the block runs, layers tell nobody; after it the buffers, running statistics all, are as before."""
    watched = [layer for part in unit for layer in part.modules() if isinstance(layer, (LIF, Conv))]
    watchers = [layer.watchers for layer in watched]
    # .data: what is put back is what autograd saw
    buffers = [buffer.data for part in unit for buffer in part.buffers()]
    before = [buffer.clone() for buffer in buffers]
    for layer in watched:
        layer.watchers = []
    try:
        yield
    finally:
        for layer, told in zip(watched, watchers, strict=True):
            layer.watchers = told
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
