"""Training in less memory: what lies between a unit's input and its output is computed again for the backward pass.

Chen et al. 2016, "Training deep nets with sublinear memory cost", arXiv:1604.06174. A unit is a convolution or
linear layer with all that follows it up to the next one, or a residual block. torch.utils.checkpoint does the
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

    Running statistics are updated once, observers are called once, and dropout draws the same masks again.
    """
    *early, last = units(network.layers)
    x = network.layer_input(x)
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
        return nullcontext(), _unobserved(unit)

    result: Tensor = checkpoint(run, unit, x, use_reentrant=False, context_fn=contexts)
    return result


@contextmanager
def _unobserved(unit: Sequence[nn.Module]) -> Iterator[None]:
    """While the context is open, no observer is called; when it closes, running statistics are as before."""
    observed = [layer for part in unit for layer in part.modules() if isinstance(layer, (LIF, Conv))]
    observers = [layer.observers for layer in observed]
    # .data: what is put back is what autograd saw
    buffers = [buffer.data for part in unit for buffer in part.buffers()]
    before = [buffer.clone() for buffer in buffers]
    for layer in observed:
        layer.observers = []
    try:
        yield
    finally:
        for layer, before_them in zip(observed, observers, strict=True):
            layer.observers = before_them
        for buffer, value in zip(buffers, before, strict=True):
            buffer.copy_(value)
