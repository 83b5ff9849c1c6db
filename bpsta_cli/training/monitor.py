"""Monitors a network while it trains: firing rates, gradient norms, and values that are not finite."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.distributed import division
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.errors import TrainingError
from bpsta_cli.network import Network
from bpsta_cli.network.layers import is_constant
from bpsta_cli.network.neurons import LIF, SpikeActivity

DYING = 0.005
"""Firing rate, spikes a neuron and step, below which a layer is about to die: at T = 8 a spike of one neuron in 25.

Below it, all but few samples leave most neurons of the layer without a spike, and under bpsa and bpsta without a
gradient. Layers of networks that learn fire at twice this rate or more.
"""
SATURATED = 0.9
"""Firing rate above which a layer gives nearly the same output for every input."""
LOSS = "loss"


class Monitor:
    """What one epoch of training shows of each layer; made by `monitoring`.

    Attributes:
        may_overflow: whether a gradient may overflow float16; the optimiser skips such a step.
        ranks: the processes that train together; None: this one is alone.
    """

    def __init__(self, network: Network, *, may_overflow: bool = False, ranks: Ranks | None = None) -> None:
        self.network = network
        self.may_overflow = may_overflow
        self.ranks = ranks
        self.rates: dict[str, Tensor] = {}
        self.passes: Counter[str] = Counter()
        self.squared_norms: dict[str, Tensor] = {}
        self.inputs: dict[str, Tensor] = {}
        self.steps = 0
        self._unread: list[tuple[dict[str, Tensor], int]] = []
        self._spikes: list[tuple[str, Tensor, int]] = []

    def note_spikes(self, name: str, activity: SpikeActivity) -> None:
        """Take in what a layer of neurons did in a pass of training."""
        _add(self.inputs, name, _sum(activity.current))
        divided = division.current()
        if divided is None:
            self._add_rate(name, activity.spike_count.double(), activity.neuron_steps)
        else:  # until those of the other processes are there
            own = activity.spike_count.double() * (not divided.stand_in)
            self._spikes.append((name, own, divided.whole(activity.neuron_steps)))

    def _add_rate(self, name: str, spike_count: Tensor, neuron_steps: int) -> None:
        _add(self.rates, name, spike_count / neuron_steps)
        self.passes[name] += 1

    def _take_in_all(self, ranks: Ranks) -> None:
        """Add what the other processes noted in this step: counts of spikes, and inputs that are not finite."""
        noted = [*self.inputs.values(), *(count for _, count, _ in self._spikes)]
        if not noted:
            return
        totals = list(ranks.total(torch.stack([value.double() for value in noted])).unbind())
        self.inputs = dict(zip(self.inputs, totals, strict=False))
        for (name, _, neuron_steps), count in zip(self._spikes, totals[len(self.inputs) :], strict=True):
            self._add_rate(name, count, neuron_steps)
        self._spikes.clear()

    def after_backward(self, loss: Tensor, samples: int) -> None:
        """Note one step's loss, of so many samples, and its gradients; nothing is read from the device yet."""
        if self.ranks is not None:
            self._take_in_all(self.ranks)
        values = {f"input of layer {name}": total for name, total in self.inputs.items()}
        values[LOSS] = loss
        weights = {name: layer.weight for name, layer in self.network.synapses().items()}
        gradients = {name: weight.grad for name, weight in weights.items() if weight.grad is not None}
        squares = kernels.totals(list(gradients.values()), squared=True)
        for name, square in zip(gradients, squares, strict=True):
            known = torch.where(square.isfinite(), square, 0) if self.may_overflow else square
            values[f"gradient of layer {name}"] = known
            _add(self.squared_norms, name, known)
        self.inputs.clear()
        self._unread.append((values, samples))
        self.steps += 1

    def read(self) -> list[tuple[float, int]]:
        """Losses and samples of the steps since the last call, in one transfer.

        Raises:
            TrainingError: a loss, a layer's input or a gradient is not finite; the layer is named.
        """
        unread, self._unread = self._unread, []
        if not unread:
            return []
        numbers = iter(torch.stack([value.double() for values, _ in unread for value in values.values()]).tolist())
        read = []
        for values, samples in unread:
            step = dict(zip(values, numbers, strict=False))
            for name, value in step.items():
                if not math.isfinite(value):
                    raise _not_finite(f"loss ({value})" if name == LOSS else name)
            read.append((step[LOSS], samples))
        return read

    def state_dict(self) -> dict[str, Any]:
        """The epoch's sums so far, all of whose steps were read."""
        return {
            "steps": self.steps,
            "passes": dict(self.passes),
            "rates": dict(self.rates),
            "squared_norms": dict(self.squared_norms),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from sums that `state_dict` gave."""
        device = next(self.network.parameters()).device
        self.steps = state["steps"]
        self.passes = Counter(state["passes"])
        self.rates = {name: total.to(device) for name, total in state["rates"].items()}
        self.squared_norms = {name: total.to(device) for name, total in state["squared_norms"].items()}

    def after_epoch(self, loss: float) -> None:
        """Check the weights and the loss after the epoch's last step, before they are saved.

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
        return {name: (total / self.passes[name]).item() for name, total in self.rates.items()}

    def gradient_norms(self) -> dict[str, float]:
        """Each weighted layer's root mean square gradient norm over the epoch's steps."""
        return {name: math.sqrt(total.item() / self.steps) for name, total in self.squared_norms.items()}

    def warnings(self, remedy: str) -> list[str]:
        """What is wrong with the epoch's firing rates, and what to try; empty where nothing is.

        Args:
            remedy: what to try where a layer falls silent.
        """
        found = []
        for name, rate in self.firing_rates().items():
            if rate == 0:
                found.append(f"{name} was silent for the whole epoch. {remedy}")
            elif rate < DYING:
                found.append(f"{name} fires at {rate:.4f}, below {DYING}: it is about to fall silent. {remedy}")
            elif rate > SATURATED:
                found.append(
                    f"{name} fires at {rate:.2f}, above {SATURATED}: it gives nearly the same output for every input. "
                    "Try a higher threshold, a lower decay or a lower learning rate."
                )
        return found


@contextmanager
def monitoring(network: Network, *, may_overflow: bool = False, ranks: Ranks | None = None) -> Iterator[Monitor]:
    """A `Monitor` of every training pass of `network` while the context is open."""
    monitor = Monitor(network, may_overflow=may_overflow, ranks=ranks)
    # the twin has no neurons to observe
    layers = {} if network.spiking else network.synapses()
    handles = [layer.register_forward_hook(_hook(monitor, name)) for name, layer in layers.items()]
    try:
        with network.observed(lambda name, neuron: _observer(monitor, name, neuron)):
            yield monitor
    finally:
        for handle in handles:
            handle.remove()


def _observer(monitor: Monitor, name: str, neuron: LIF) -> Callable[[SpikeActivity], None]:
    def observe(activity: SpikeActivity) -> None:
        if neuron.training:
            monitor.note_spikes(name, activity)

    return observe


def _hook(monitor: Monitor, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def observe(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        if module.training:
            _add(monitor.inputs, name, _sum(inputs[0].detach()))

    return observe


def _add(totals: dict[str, Tensor], name: str, value: Tensor) -> None:
    totals[name] = totals[name] + value if name in totals else value


def _sum(x: Tensor) -> Tensor:
    """A sum is finite only if every summand is; that of float64 does not overflow for a narrower type's."""
    return kernels.total(x[0] if is_constant(x) else x)


def _not_finite(what: str) -> TrainingError:
    return TrainingError(
        "training diverged",
        expected="finite numbers",
        got=f"a {what} that is not",
        todo="The last good epoch is kept. Try a lower learning rate, clip_norm, or check the input data.",
    )
