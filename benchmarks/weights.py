"""Weights with which every layer fires about as often as after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bpsta_cli.evaluation.accuracy import counting_spikes
from bpsta_cli.network import Network

RATE = 0.1
"""Spikes a neuron and step that are aimed at; results/tables/accuracy.md has 0.15 to 0.22 after training."""
HALVINGS = 8
RANGE = 4.0
"""A shift of normalised values beyond which all or none of them fire."""


@torch.no_grad()
def calibrate(network: Network, x: Tensor) -> dict[str, float]:
    """Shift each layer's norm (or bias, where there is none) until its neurons fire at `RATE` on `x`.

    The running statistics become those of `x`, so that training and evaluation fire alike.

    Args:
        network: changed in place, and left in training mode.
        x: input [T, B, C, H, W].

    Returns:
        The firing rate of each layer in the end.
    """
    follow_only_this(network, x)
    for neuron, shift in _shifts(network).items():
        low, high = -RANGE, RANGE
        for _ in range(HALVINGS):
            shift.fill_((low + high) / 2)
            low, high = (low, (low + high) / 2) if rates(network, x)[neuron] > RATE else ((low + high) / 2, high)
        follow_only_this(network, x)
    found = rates(network, x)
    network.train()
    return found


def follow_only_this(network: Network, x: Tensor) -> None:
    """Make the running statistics those of one pass of `x`."""
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    network.train().votes(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


@torch.no_grad()
def rates(network: Network, x: Tensor) -> dict[str, float]:
    """Spikes a neuron and step of each layer, in evaluation mode."""
    with counting_spikes(network) as counts:
        network.eval().votes(x)
    return {name: spikes / slots for name, (spikes, slots) in counts.items()}


def _shifts(network: Network) -> dict[str, Tensor]:
    """The bias that each layer of neurons hangs on: of the last norm or layer with weights before it."""
    found: dict[str, Tensor] = {}
    last: Tensor | None = None
    neurons = network.neurons()
    for name, layer in network.layers.named_modules():
        if isinstance(bias := getattr(layer, "bias", None), Tensor):
            last = bias
        elif name in neurons and last is not None:
            found[name] = last
    return found
