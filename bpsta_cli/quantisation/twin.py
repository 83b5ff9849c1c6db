"""A ReLU twin whose activations have few bits: built from a trained one, its steps chosen on calibration samples."""

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from bpsta_cli.errors import DataError, SettingsError
from bpsta_cli.network import Network
from bpsta_cli.network.fusion import Layers
from bpsta_cli.network.layers import AvgPool, Conv, Linear, ReLU
from bpsta_cli.quantisation.folding import fold_norms
from bpsta_cli.quantisation.rounding import QuantisedSynapses, Quantiser, best_step

WIDE_BITS = 8
"""Of weights, and of values that are no activations of neurons: pixels, event counts and averages."""
MOST_BITS = 16
"""Of activations: as many tell apart the spike counts of 65,535 steps."""
BINS = 2048
"""Of the histogram in which a layer's step is looked for; as many as `torch.ao.quantization.HistogramObserver` has."""
INPUT, QUANTISER = "input", "quantiser"

Batches = Callable[[], Iterable[Tensor]]
"""Gives the calibration samples anew at every call: inputs [T, B, C, H, W], none negative."""


@dataclass(frozen=True)
class QuantisedTwin:
    """A quantised twin.

    Attributes:
        network: rounds its weights and activations at every pass; evaluated and trained as any other.
        bits: of an activation.
        weight_bits: of a weight.
        steps: of the input, and of each layer of activations and of averages, by the layer's name.
    """

    network: Network
    bits: int
    weight_bits: int
    steps: dict[str, float]


def quantise(
    network: Network, batches: Batches, *, bits: int, input_unit: float, weight_bits: int = WIDE_BITS
) -> QuantisedTwin:
    """A trained twin with its norms folded, weights and activations rounded, and steps fitted to `batches`.

    Every ReLU's output has `bits` bits; the input and the averages of a pool have `WIDE_BITS`; sums, shortcuts' sums
    among them, and votes are not rounded. All steps are found in the network whose weights alone are rounded.

    Args:
        network: of the method "ann"; it is not changed.
        batches: calibration samples, which must not be the test's.
        bits: of an activation, 1 to `MOST_BITS`.
        input_unit: what inputs are whole multiples of (`Store.scale`); up to 255 of it, they are not changed.
        weight_bits: of a weight, 2 to `MOST_BITS`.

    Raises:
        SettingsError: a spiking network, or bits out of range.
        StructureError: a norm that follows no convolution.
        DataError: no samples, or negative ones.
    """
    _check(network, bits, weight_bits)
    rounded = copy.deepcopy(network).eval()
    fold_norms(rounded.layers)
    _round_layers(rounded.layers, bits, weight_bits)
    rounded.layers = Layers(OrderedDict({INPUT: Quantiser(WIDE_BITS), **dict(rounded.layers.named_children())}))
    quantisers = {
        name.removesuffix(f".{QUANTISER}"): layer
        for name, layer in rounded.layers.named_modules()
        if isinstance(layer, Quantiser)
    }
    steps = _steps(rounded, quantisers, batches, input_unit)
    for name, layer in quantisers.items():
        layer.step = steps[name]
    return QuantisedTwin(rounded, bits, weight_bits, steps)


def _check(network: Network, bits: int, weight_bits: int) -> None:
    if network.spiking:
        raise SettingsError(
            "spikes have one bit",
            expected="the ReLU twin to quantise, a run of method ann",
            got="a spiking network",
            todo="Train the twin: bpsta train --method ann, with the same other options.",
        )
    for name, value, least in (("activations", bits, 1), ("weights", weight_bits, 2)):
        if not least <= value <= MOST_BITS:
            raise SettingsError(
                f"unusable bits of {name}",
                expected=f"{least} to {MOST_BITS}",
                got=str(value),
                todo="ceil(log2(T + 1)) bits tell apart as many values as T steps have spike counts.",
            )


def _round_layers(parent: nn.Module, bits: int, weight_bits: int) -> None:
    """Have the layers within `parent` round their weights or their outputs."""
    for name, layer in list(parent.named_children()):
        if isinstance(layer, Conv | Linear):
            setattr(parent, name, QuantisedSynapses(layer, weight_bits))
        elif isinstance(layer, ReLU | AvgPool):
            quantiser = Quantiser(bits if isinstance(layer, ReLU) else WIDE_BITS)
            setattr(parent, name, nn.Sequential(OrderedDict({"layer": layer, QUANTISER: quantiser})))
        else:
            _round_layers(layer, bits, weight_bits)


def _steps(network: Network, quantisers: dict[str, Quantiser], batches: Batches, input_unit: float) -> dict[str, float]:
    """The step of each quantiser: the range of its values in a first pass, their histogram in a second."""
    largest = dict.fromkeys(quantisers, 0.0)
    counts = {name: np.zeros(BINS, np.int64) for name in quantisers}

    def find_largest(name: str, x: Tensor) -> None:
        if name == INPUT and x.amin() < 0:
            raise DataError(
                "negative inputs",
                expected="pixels or counts of at least 0",
                got=f"{float(x.amin()):g}",
                todo="Shift them before.",
            )
        largest[name] = max(largest[name], float(x.amax()))

    def count(name: str, x: Tensor) -> None:
        if name != INPUT and largest[name] > 0:
            places = (x[x > 0].double() * (BINS / largest[name])).long().clamp_(max=BINS - 1)
            counts[name] += torch.bincount(places, minlength=BINS).cpu().numpy()

    for see in (find_largest, count):
        _show(network, quantisers, batches, see)
    found = {name: best_step(counts[name], largest[name], each.highest) for name, each in quantisers.items()}
    units = round(largest[INPUT] / input_unit)
    return found | {INPUT: input_unit * max(1, -(-units // quantisers[INPUT].highest))}


@torch.no_grad()
def _show(
    network: Network, quantisers: dict[str, Quantiser], batches: Batches, see: Callable[[str, Tensor], None]
) -> None:
    """Pass the samples through, and have `see` called with what each quantiser is given."""

    def seen(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _layer, inputs: see(name, inputs[0])

    with ExitStack() as stack:
        for name, layer in quantisers.items():
            stack.callback(layer.register_forward_pre_hook(seen(name)).remove)
        samples = 0
        for x in batches():
            network.votes(x)
            samples += x.shape[1]
    if samples == 0:
        raise DataError("nothing to calibrate on", expected="samples", got="none", todo="Give some training samples.")
