"""Energy of a trained network: the paper's estimate (Eq. 1) and a count of the operations that happen."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.data.store import Store
from bpsta_cli.evaluation import Evaluation, OnBatch, evaluate
from bpsta_cli.layers import Conv, Linear, is_constant
from bpsta_cli.networks import Network

# 45 nm CMOS, Horowitz 2014 (ISSCC, "Computing's energy problem"), picojoule
E_MULT_FP32 = 3.7
E_ADD_FP32 = 0.9
E_ADD_INT32 = 0.1
E_MAC = E_MULT_FP32 + E_ADD_FP32
"""One 32-bit floating multiply-accumulate: 4.6 pJ."""
E_AC = E_ADD_FP32
"""One 32-bit floating accumulate, what a spike costs at a floating weight: 0.9 pJ."""


@dataclass
class LayerCount:
    """Operations of one layer with synapses, summed over the samples seen.

    Attributes:
        layer: its name.
        shape: of its output, without time and batch.
        dense_ops: multiply-accumulates of one dense step of one sample, padding included.
        neuron: name of the neuron layer that it drives, if any.
        nonzero: non-zero input values.
        slots: all input values.
        reached: synapses that the non-zero inputs really reach.
        binary: whether every input so far was 0 or 1.
    """

    layer: str
    shape: tuple[int, ...]
    dense_ops: int
    neuron: str | None
    nonzero: int = 0
    slots: int = 0
    reached: int = 0
    binary: bool = True


def paper_estimate(dense_ops: int, firing_rate: float, T: int) -> dict[str, float | None]:
    """The paper's account, Eq. 1: E_ANN = FLOPs * 4.6 pJ, E_SNN = FLOPs * firing rate * 0.1 pJ * T.

    It takes every layer's input for spikes, costs an integer addition each, and leaves out memory, neuron
    updates and the first layer's real-valued input. The ratio is 46 / (T * firing rate).

    Args:
        dense_ops: multiply-accumulates of one dense pass of one sample (the paper's FLOPs).
        firing_rate: mean over all neurons and steps, in [0, 1].
        T: time steps.

    Returns:
        e_ann_pj and e_snn_pj in picojoule a sample, ratio = e_ann_pj / e_snn_pj (None for a silent network).
    """
    e_ann, e_snn = dense_ops * E_MAC, dense_ops * firing_rate * E_ADD_INT32 * T
    return {"ratio": e_ann / e_snn if e_snn else None, "e_ann_pj": e_ann, "e_snn_pj": e_snn}


def account(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, Any]:
    """Both accounts of `network` over the first `samples` of the test part, per sample.

    The counted account takes, at every layer with synapses, each non-zero input value and the synapses it
    reaches (fan-out at image borders counted exactly): an accumulate each when the input is binary, a
    multiply-accumulate when it is not (pixels, event counts, averages after pooling). An input that is the
    same at every step is counted once, as it is computed once. Batch norm is folded into the weights; a
    neuron's update is one multiply-accumulate a step. The additions of an identity shortcut are left out.

    Returns:
        firing_rate, paper (`paper_estimate`), counted (macs, acs, neuron_updates, e_snn_pj, e_ann_pj, ratio)
        and layers, a list of one dictionary a layer. Energies in picojoule, operations a sample.

    Raises:
        DataError: the test part is empty.
    """
    counts: dict[str, LayerCount] = {}
    neurons = _neuron_after(network)
    handles = [
        layer.register_forward_hook(_counter(counts, name, neurons.get(name)))
        for name, layer in network.synapses().items()
    ]
    try:
        seen = evaluate(network, store, store.split("test"), T=T, device=device, samples=samples, on_batch=on_batch)
    finally:
        for handle in handles:
            handle.remove()
    return _summary(list(counts.values()), seen, T)


def fan_out(layer: Conv, height: int, width: int) -> Tensor:
    """Output pixels that each input pixel reaches: [H, W]; times the filters, its synapses."""
    ones = torch.ones(1, 1, height, width)
    kernel = torch.ones(1, 1, *layer.kernel_size)
    padding, stride = (int(layer.padding[0]), int(layer.padding[1])), layer.stride
    reached = F.conv2d(ones, kernel, stride=stride, padding=padding)
    spread = F.conv_transpose2d(torch.ones_like(reached), kernel, stride=stride)
    frame = torch.zeros(1, 1, height + 2 * padding[0], width + 2 * padding[1])
    frame[..., : spread.shape[2], : spread.shape[3]] = spread
    return frame[0, 0, padding[0] : padding[0] + height, padding[1] : padding[1] + width]


def _counter(
    counts: dict[str, LayerCount], name: str, neuron: str | None
) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        x = inputs[0][:1] if is_constant(inputs[0]) else inputs[0]
        if name not in counts:
            counts[name] = LayerCount(name, tuple(output.shape[2:]), _dense_ops(layer, output), neuron)
        nonzero = x != 0
        row = counts[name]
        row.nonzero += int(nonzero.sum())
        row.slots += x.numel()
        row.reached += _reached(layer, nonzero)
        row.binary = row.binary and bool(((x == 0) | (x == 1)).all())

    return count


def _reached(layer: nn.Module, nonzero: Tensor) -> int:
    """Synapses that the non-zero inputs [T, B, ...] reach."""
    if isinstance(layer, Conv):
        pixels = nonzero.sum(dim=(0, 1, 2)).double().cpu()  # [H, W], over time, batch and channels
        return int((pixels * fan_out(layer, *pixels.shape)).sum()) * layer.out_channels
    assert isinstance(layer, Linear)
    return int(nonzero.sum()) * layer.out_features


def _dense_ops(layer: nn.Module, output: Tensor) -> int:
    if isinstance(layer, Conv):
        return math.prod(output.shape[2:]) * layer.in_channels * math.prod(layer.kernel_size)
    assert isinstance(layer, Linear)
    return layer.in_features * layer.out_features


def _neuron_after(network: Network) -> dict[str, str]:
    """The neuron layer that each layer with synapses drives.

    Layers are defined in the order in which they run, so a neuron layer is driven by all synapses since the last
    one: in a residual block the second convolution and the shortcut drive the same neurons.
    """
    synapses, neurons = network.synapses(), network.neurons()
    after: dict[str, str] = {}
    waiting: list[str] = []
    for name, _ in network.layers.named_modules():
        if name in synapses:
            waiting.append(name)
        elif name in neurons:
            after |= dict.fromkeys(waiting, name)
            waiting = []
    return after


def _summary(rows: list[LayerCount], seen: Evaluation, T: int) -> dict[str, Any]:
    dense = sum(row.dense_ops for row in rows)
    layers = [_layer(row, seen) for row in rows]
    macs, acs = sum(layer["macs"] for layer in layers), sum(layer["acs"] for layer in layers)
    neurons = {row.neuron: math.prod(row.shape) for row in rows if row.neuron}  # once, however many layers drive it
    updates = sum(neurons.values()) * T
    e_snn, e_ann = macs * E_MAC + acs * E_AC + updates * E_MAC, dense * E_MAC
    for layer in layers:
        layer["share"] = layer["e_pj"] / e_snn if e_snn else 0.0
    return {
        "accuracy": seen.accuracy,
        "samples": seen.samples,
        "T": T,
        "firing_rate": seen.firing_rate,
        "paper": (
            {"ratio": None, "e_ann_pj": e_ann, "e_snn_pj": None}
            if seen.firing_rate is None
            else paper_estimate(dense, seen.firing_rate, T)
        ),
        "counted": {
            "dense_ops": dense,
            "macs": macs,
            "acs": acs,
            "neuron_updates": updates,
            "e_ann_pj": e_ann,
            "e_snn_pj": e_snn,
            "ratio": e_ann / e_snn if e_snn else None,
        },
        "layers": layers,
    }


def _layer(row: LayerCount, seen: Evaluation) -> dict[str, Any]:
    operations = row.reached / seen.samples
    macs, acs = (0.0, operations) if row.binary else (operations, 0.0)
    return {
        "layer": row.layer,
        "shape": list(row.shape),
        "dense_ops": row.dense_ops,
        "input_density": row.nonzero / row.slots,
        "firing_rate": seen.firing_rates.get(row.neuron) if row.neuron else None,
        "macs": macs,
        "acs": acs,
        "e_pj": macs * E_MAC + acs * E_AC,
    }
