"""What the variants are compared on: two kinds of structure, and inputs on which rounding turns nothing over."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.settings import Settings
from benchmarks.subjects import no_plain_twin
from bpsta_cli.network import Network, builder, notation
from bpsta_cli.network.neurons import LIF, SpikeActivity

CHANNELS = 16
POOLS = ("max-pool", "avg-pool")
OUTPUT = "10Voting"


class Comparison(NamedTuple):
    """Which comparison: of which kind of input, what of the network, and the how manyth input."""

    varying: bool
    settings: Settings
    exact: bool
    attempt: int = 0


def build(settings: Settings, **options: Any) -> Network:
    """The network that is measured, without dropout: its masks would differ from variant to variant."""
    return builder.build(settings.network, settings.shape, settings.classes, dropout=0.0, **options)


def draw(settings: Settings, steps: int, batch: int, *, varying: bool, device: torch.device) -> Tensor:
    """An input [T, B, C, H, W]; the same image at every step has a time stride of 0, as `to_input` gives it."""
    x = torch.rand(steps if varying else 1, batch, *settings.shape).to(device)
    return x if varying else x.expand(steps, *x.shape[1:])


def thinned(settings: Settings) -> Settings:
    """The structure with at most `CHANNELS` filters and hidden neurons a layer; inputs and outputs stay.

    Raises:
        SettingsError: a residual network, which has no plain twin here.
    """

    def fewer(token: notation.Token) -> str:
        if token.kind not in ("conv", "fc"):
            return token.text
        return re.sub(r"^\d+", str(min(token.numbers[0], CHANNELS)), token.text)

    return settings.changed(network="-".join(map(fewer, _tokens(settings))))


def convolutions(settings: Settings) -> list[Settings]:
    """Each convolution with the pooling after it and the output layer, as a network by itself."""
    tokens = _tokens(settings)
    found, (channels, height, width) = [], settings.shape
    for place, token in enumerate(tokens):
        if token.kind == "conv":
            pools = itertools.takewhile(lambda after: after.kind in POOLS, tokens[place + 1 :])
            part = "-".join([token.text, *(pool.text for pool in pools), OUTPUT])
            found.append(settings.changed(network=part, shape=(channels, height, width)))
            channels, less = token.numbers[0], token.numbers[1] - 3
            height, width = height - less, width - less
        elif token.kind in POOLS:
            height, width = height // token.numbers[0], width // token.numbers[0]
    return list(dict.fromkeys(found))


def _tokens(settings: Settings) -> list[notation.Token]:
    if settings.network in notation.RESIDUAL:
        raise no_plain_twin(settings.network)
    return notation.parse(settings.network, inputs=math.prod(settings.shape), classes=settings.classes)


@torch.no_grad()
def clearance(network: Network, x: Tensor) -> float:
    """How near anything comes to where it turns over, in training and then in evaluation.

    A spike at u = theta, a ReLU at 0, and the rectangular curve also at 0.5 from theta on either side.
    """
    nearest = [float("inf")]

    def near(values: Tensor, edge: float) -> None:
        gaps = (values - edge).abs()
        nearest.append(float(gaps.where(gaps > 0, float("inf")).min()))  # exactly there is so for everyone

    def observer(_name: str, neuron: LIF) -> Callable[[SpikeActivity], None]:
        def observe(activity: SpikeActivity) -> None:
            v = torch.zeros_like(activity.current[0])
            for current in activity.current:
                u = neuron.decay * v + current
                for edge in (neuron.threshold - 0.5, neuron.threshold, neuron.threshold + 0.5):
                    near(u, edge)
                v = u * (u < neuron.threshold)

        return observe

    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output: near(output, 0.0))
        for layer in network.modules()
        if hasattr(layer, "weight")
    ]
    with network.observed(observer):
        network.train().votes(x)
        network.eval().votes(x)
    for hook in hooks:
        hook.remove()
    return min(nearest)
