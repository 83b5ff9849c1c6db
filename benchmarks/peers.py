"""The same network in other packages, their neurons set so that they compute the same u, o and v.

Each is run layer by layer, T folded into the batch of all but the neurons, which is the fastest way to use it here,
and held against this package's network with the same surrogate (`reference`):

- SpikingJelly: LIFNode, decay_input=False, tau = 1 / (1 - decay), hard reset to 0. Its PiecewiseQuadratic(1) is the
  polynomial curve of width 4, and one of those that its own fused operation knows.
- snnTorch: Leaky, reset "zero", which holds the spike in the reset constant: `detach_reset`. It fires above the
  threshold, not at it. Its custom_surrogate takes the rectangular curve.
- Norse: lif_box, u' = 0.9 v' + 0.1 x, hence in units of a tenth: threshold 0.05. It fires above the threshold. Of its
  curves heavi_erfc with k = 2 is a Gaussian of integral 1; seen from x its variance is 1 / (2 (0.1 k)^2) = 12.5.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.subjects import Subject, Variant, channels_last, translated
from bpsta_cli.network import Network
from bpsta_cli.network.neurons import LIF

IMPORTS = {
    "spikingjelly": "spikingjelly.activation_based.neuron",
    "snntorch": "snntorch.surrogate",
    "norse": "norse.torch",
}
"""What has to be importable, by the name on PyPI."""
NORSE_UNIT = 0.1
"""Norse's potential over ours: dt * tau_mem_inv, with which it weighs its input."""


def absence(package: str) -> str:
    """Why a package cannot be measured, in one clause; empty where it can."""
    try:
        importlib.import_module(IMPORTS[package])
    except ImportError as missing:
        return str(missing)
    return ""


def version(package: str) -> str:
    """The installed version."""
    return importlib.metadata.version(package)


class SpikingJelly(Subject):
    """SpikingJelly's own layers, step mode "m"."""

    def __init__(self, network: Network, *, last: bool) -> None:
        from spikingjelly.activation_based import functional, layer

        super().__init__(translated(network, spikingjelly_neuron, layer))
        functional.set_step_mode(self.layers, "m")
        self.reset, self.last = functional.reset_net, last
        if last:
            self.layers.to(memory_format=torch.channels_last)

    def prepare(self, x: Tensor) -> Tensor:
        """T x B images, channels last where asked for."""
        return channels_last(x) if self.last else x.contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Votes."""
        self.reset(self.layers)
        votes: Tensor = self.layers(x)
        return votes


class LayerByLayer(Subject):
    """Plain torch layers on T x B images, and a package's neurons on [T, B, ...]."""

    def __init__(self, network: Network, neuron: Callable[[LIF], Neuron]) -> None:
        super().__init__(translated(network, neuron))

    def forward(self, x: Tensor) -> Tensor:
        """Votes."""
        for layer in self.layers.children():
            x = layer(x) if isinstance(layer, Neuron) else layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return x


class Neuron(nn.Module):
    """Neurons on [T, ...], by the step that a package offers."""

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, ...]."""
        return self.run(x)


def spikingjelly_neuron(lif: LIF) -> Any:
    """SpikingJelly's neuron."""
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.LIFNode(
        tau=1 / (1 - lif.decay),
        decay_input=False,
        v_threshold=lif.threshold,
        v_reset=0.0,
        surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
        step_mode="m",
    )


def spikingjelly_run(lif: LIF) -> Neuron:
    """SpikingJelly's neuron, reset before each call."""
    made = spikingjelly_neuron(lif)

    def run(x: Tensor) -> Tensor:
        made.reset()
        spikes: Tensor = made(x)
        return spikes

    return Neuron(run)


def snntorch_neuron(lif: LIF) -> Neuron:
    """snnTorch's neuron, called step by step."""
    import snntorch
    from snntorch import surrogate

    def rectangular(u: Tensor, grad: Tensor, _spikes: Tensor) -> Tensor:
        return grad * (u.abs() < 0.5)

    leaky = snntorch.Leaky(
        beta=lif.decay,
        threshold=lif.threshold,
        spike_grad=surrogate.custom_surrogate(rectangular),
        reset_mechanism="zero",
    )
    snntorch.SpikingNeuron.instances.remove(leaky)  # it keeps a list of all that were ever made

    def run(x: Tensor) -> Tensor:
        v, spikes = torch.zeros_like(x[0]), []
        for step in x:
            spike, v = leaky(step, v)
            spikes.append(spike)
        return torch.stack(spikes)

    return Neuron(run)


def norse_neuron(lif: LIF) -> Neuron:
    """Norse's neuron, in its own loop over time."""
    from norse.torch.functional.lif_box import LIFBoxParameters, lif_box_feed_forward_step
    from norse.torch.module.lif_box import LIFBoxCell
    from norse.torch.module.snn import SNN

    dt = 0.001
    parameters = LIFBoxParameters(
        tau_mem_inv=torch.as_tensor((1 - lif.decay) / dt),
        v_th=torch.as_tensor(lif.threshold * NORSE_UNIT),
        method="heavi_erfc",
        alpha=2.0,
    )
    cell = LIFBoxCell(parameters, dt)
    over_time = SNN(lif_box_feed_forward_step, cell.initial_state, parameters, dt=dt)

    def run(x: Tensor) -> Tensor:
        spikes: Tensor = over_time(x)[0]
        return spikes

    return Neuron(run)


def variants() -> list[Variant]:
    """All of them, installed or not."""
    polynomial = {"method": "stbp", "surrogate": "polynomial", "surrogate_width": 4.0}
    gaussian = {"method": "stbp", "surrogate": "gaussian", "surrogate_width": 1 / (2 * (2 * NORSE_UNIT) ** 2)}
    return [
        Variant(
            "spikingjelly",
            "SpikingJelly's layers and LIFNode, multi-step, default layout",
            lambda network: SpikingJelly(network, last=False),
            polynomial,
            "spikingjelly",
        ),
        Variant(
            "spikingjelly-cl",
            "the same in channels_last",
            lambda network: SpikingJelly(network, last=True),
            polynomial,
            "spikingjelly",
        ),
        Variant(
            "snntorch",
            "snnTorch's Leaky in a loop over T, the other layers on T x B images",
            lambda network: LayerByLayer(network, snntorch_neuron),
            {"method": "stbp", "detach_reset": True},
            "snntorch",
        ),
        Variant(
            "norse",
            "Norse's lif_box over time, the other layers on T x B images",
            lambda network: LayerByLayer(network, norse_neuron),
            gaussian,
            "norse",
        ),
    ]
