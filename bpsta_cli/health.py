"""Watches a network while it trains: firing rates, gradient norms, and values that are not finite."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpsta_cli.errors import TrainingError
from bpsta_cli.layers import is_constant
from bpsta_cli.networks import Network
from bpsta_cli.neurons import LIF, Firing

SATURATED = 0.9
"""Firing rate above which a layer hardly tells its inputs apart."""


class Monitor:
    """Per-layer figures of one epoch of training; made by `watching`."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.rates: dict[str, Tensor] = {}
        self.squared_norms: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        self.steps = 0

    def after_backward(self, loss: float) -> None:
        """Take up one step's gradients.

        Raises:
            TrainingError: the loss, a layer's input or a gradient is not finite; the layer is named.
        """
        for name, total in self.inputs.items():
            if not math.isfinite(total.item()):
                raise _not_finite(f"input of layer {name}")
        if not math.isfinite(loss):
            raise _not_finite(f"loss ({loss})")
        for name, layer in self.network.synapses().items():
            if layer.weight.grad is not None:
                norm = torch.linalg.vector_norm(layer.weight.grad)
                if not math.isfinite(norm.item()):
                    raise _not_finite(f"gradient of layer {name}")
                self.squared_norms[name] = self.squared_norms.get(name, torch.zeros(())) + norm.cpu() ** 2
        self.steps += 1

    def after_epoch(self, loss: float) -> None:
        """Look at what the last step left behind, before it is kept.

        Raises:
            TrainingError: a weight, a running statistic or the loss on the test part is not finite.
        """
        for name, tensor in self.network.state_dict().items():
            if not torch.isfinite(tensor).all():
                raise _not_finite(f"{name.removeprefix('layers.')} after the last step")
        if not math.isfinite(loss):
            raise _not_finite(f"test loss ({loss})")

    def firing_rates(self) -> dict[str, float]:
        """Each neuron layer's mean firing rate over the epoch's training samples."""
        return {name: (total / self.steps).item() for name, total in self.rates.items()}

    def gradient_norms(self) -> dict[str, float]:
        """Each weighted layer's root mean square gradient norm over the epoch's steps."""
        return {name: math.sqrt(total.item() / self.steps) for name, total in self.squared_norms.items()}

    def warnings(self) -> list[str]:
        """What is wrong with the epoch's firing rates, with what to try; empty when healthy."""
        found = []
        for name, rate in self.firing_rates().items():
            if rate == 0:
                found.append(
                    f"{name} was silent for the whole epoch: under bpsa and bpsta it passes no gradient on. "
                    "Try more warmup_epochs, a lower threshold or a higher learning rate."
                )
            elif rate > SATURATED:
                found.append(
                    f"{name} fires at {rate:.2f}, above {SATURATED}: it hardly tells its inputs apart. "
                    "Try a higher threshold, a lower decay or a lower learning rate."
                )
        return found


@contextmanager
def watching(network: Network) -> Iterator[Monitor]:
    """A `Monitor` that sees every training pass of `network` while the block runs."""
    monitor = Monitor(network)
    # the twin has no neurons to look at
    layers = {} if network.spiking else network.synapses()
    handles = [layer.register_forward_hook(_hook(monitor, name)) for name, layer in layers.items()]
    try:
        with network.watched(lambda name, neuron: _watcher(monitor, name, neuron)):
            yield monitor
    finally:
        for handle in handles:
            handle.remove()


def _watcher(monitor: Monitor, name: str, neuron: LIF) -> Callable[[Firing], None]:
    def look(firing: Firing) -> None:
        if neuron.training:
            monitor.inputs[name] = _sum(firing.current)
            rate = firing.spikes.double() / firing.slots
            monitor.rates[name] = monitor.rates.get(name, torch.zeros_like(rate)) + rate

    return look


def _hook(monitor: Monitor, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def look(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        if module.training:
            monitor.inputs[name] = _sum(inputs[0].detach())

    return look


def _sum(seen: Tensor) -> Tensor:
    """A sum is finite only if every summand is: one pass, no copy."""
    return (seen[0] if is_constant(seen) else seen).sum()


def _not_finite(what: str) -> TrainingError:
    return TrainingError(
        "training diverged",
        expected="finite numbers",
        got=f"a {what} that is not",
        todo="The last good epoch is kept. Try a lower learning rate, clip_norm, or check the input data.",
    )
