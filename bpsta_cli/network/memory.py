"""How much memory the potentials of a network take by T and the batch, known before it is taken."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpsta_cli.network.network import Network
from bpsta_cli.network.neurons import LIF

VALUE_BYTES = 4
"""Of a potential, a spike or a weight, float32."""


def outputs(network: Network, shape: tuple[int, int, int]) -> list[int]:
    """Values that each layer of neurons integrates for one sample and step, in order: its input currents.

    One sample is passed through the ReLU twin; neither weights nor statistics nor random numbers change.

    Args:
        network: on any device.
        shape: (C, H, W) of one step.
    """
    return _values_after(network, shape, network.synapses().values())


def neuron_counts(network: Network, shape: tuple[int, int, int]) -> list[int]:
    """Neurons of each layer of neurons, in order; arguments as in `outputs`."""
    return _values_after(network, shape, [layer for layer in network.modules() if isinstance(layer, LIF)])


def _values_after(network: Network, shape: tuple[int, int, int], layers: Iterable[nn.Module]) -> list[int]:
    """Values of one sample and step that each of the layers gives, in the order in which they are run."""
    counts: list[int] = []

    def count(_layer: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output[0, 0].numel())

    device = next((weight.device for weight in network.parameters()), torch.device("cpu"))
    with _as_twin(network), _unobserved(network), torch.no_grad():
        for layer in layers:
            layer.register_forward_hook(count)
        network.votes(torch.zeros(1, 1, *shape, device=device))
    return counts


@contextmanager
def _as_twin(network: Network) -> Iterator[None]:
    training, spiking = network.training, network.spiking
    network.eval()
    network.spiking = False
    try:
        yield
    finally:
        network.spiking = spiking
        network.train(training)


@contextmanager
def _unobserved(network: Network) -> Iterator[None]:
    """No hook or observer of others sees what passes through the network; hooks added meanwhile are dropped."""
    modules, convolutions = list(network.modules()), list(network.convolutions().values())
    hooks = [(module._forward_hooks, module._forward_pre_hooks) for module in modules]
    observers = [conv.observers for conv in convolutions]
    for module in modules:
        module._forward_hooks, module._forward_pre_hooks = OrderedDict(), OrderedDict()
    for conv in convolutions:
        conv.observers = []
    try:
        yield
    finally:
        for module, (after, before) in zip(modules, hooks, strict=True):
            module._forward_hooks, module._forward_pre_hooks = after, before
        for conv, theirs in zip(convolutions, observers, strict=True):
            conv.observers = theirs


def training_bytes(values: list[int], *, T: int, batch: int, recompute: bool) -> int:
    """The least that one part of a batch takes in training: what every layer keeps for the backward pass.

    With `recompute` the largest layer alone counts.
    """
    kept = max(values, default=0) if recompute else sum(values)
    return T * batch * kept * VALUE_BYTES


def evaluation_batch(network: Network, shape: tuple[int, int, int], *, T: int, most: int, memory: int) -> int:
    """Samples that are evaluated together: `most`, or as many as a quarter of `memory` bytes holds, at least one."""
    each = 2 * T * max(outputs(network, shape), default=1) * VALUE_BYTES
    return max(1, min(most, memory // 4 // max(1, each)))
