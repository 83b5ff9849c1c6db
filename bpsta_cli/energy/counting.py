"""Counts what happens at every synapse and neuron while a network is evaluated."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.data.store import Store
from bpsta_cli.evaluation.accuracy import Evaluation, OnBatch, evaluate
from bpsta_cli.network import Network
from bpsta_cli.network.layers import Conv, Linear, is_constant
from bpsta_cli.network.neurons import LIF

PART = 32
"""Samples counted at a time: float64 of a layer's whole input would be large."""
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


@dataclass
class LayerCount:
    """Operations of one layer that passes spikes on, summed over the samples seen.

    Attributes:
        layer: its name.
        kind: "conv", "linear", or "shortcut", the identity of a residual block: one addition a spike.
        inputs: shape of its input, without time and batch.
        outputs: the same of its output.
        channels: filters or output neurons; one bias each, of its own or from the batch norm folded into it.
        weights: number of its weights.
        kernel: height times width of its kernel; 1 but for "conv".
        dense_ops: multiply-accumulates of one dense step of one sample, padding included (FLOPs as usually told).
        synapses: the same without padding, as NeuroBench counts dense operations.
        neuron: name of the neuron layer that it drives.
        owner: whether it is the first layer that drives those neurons, and so stands for their updates.
        data: whether its input is the data.
        constant: whether its input is the same at every step; then it works once, and counts once.
        nonzero: non-zero input values.
        slots: all input values.
        reached: synapses that the non-zero inputs really reach: within the image and with a weight that is not 0.
        binary: whether every input so far was 0 or 1.
        step_macs: `reached` of the steps of samples whose input is not binary, a constant one at all T steps.
        step_acs: the same of those whose input is.
    """

    layer: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    channels: int
    weights: int
    kernel: int
    dense_ops: int
    synapses: int
    neuron: str
    owner: bool
    data: bool
    constant: bool
    nonzero: int = 0
    slots: int = 0
    reached: int = 0
    binary: bool = True
    step_macs: int = 0
    step_acs: int = 0

    @property
    def neurons(self) -> int:
        """Neurons that it drives."""
        return math.prod(self.outputs)


@dataclass
class Counts:
    """What one evaluation counted.

    Attributes:
        T: time steps.
        connection_sparsity: share of weights that are 0.
        footprint: bytes of parameters and buffers.
        rows: the layers, in the order in which they ran.
        spikes: spikes of each neuron layer at each step, summed over samples; empty for the ReLU twin.
        neurons: neurons of each of those layers.
        seen: accuracy and firing rates.
    """

    T: int
    connection_sparsity: float
    footprint: int
    rows: list[LayerCount] = field(default_factory=list)
    spikes: dict[str, list[int]] = field(default_factory=dict)
    neurons: dict[str, int] = field(default_factory=dict)
    seen: Evaluation = field(init=False)

    @property
    def frames(self) -> int:
        """Dense passes that the twin makes: 1 for an image, T for frames of events."""
        return 1 if self.rows[0].constant else self.T

    @property
    def updating_steps(self) -> int:
        """Steps at which neurons are updated; 0 for the ReLU twin."""
        return self.T if self.spikes else 0


def count(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> Counts:
    """Evaluate `network` on the first `samples` of the test part and count.

    Raises:
        DataError: the test part is empty.
    """
    weights = [layer.weight for layer in network.synapses().values()]
    found = Counts(
        T=T,
        connection_sparsity=sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights),
        footprint=sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers())),
    )
    with _hooks(network, found):
        found.seen = evaluate(
            network, store, store.split("test"), T=T, device=device, samples=samples, on_batch=on_batch
        )
    return found


def fan_out(layer: Conv | Linear, inputs: tuple[int, ...], *, dense: bool = False) -> Tensor:
    """Synapses that each input value reaches, borders and strides counted exactly: float64 of shape `inputs`.

    Args:
        layer: a convolution or linear layer.
        inputs: (C, H, W), or (N,).
        dense: count synapses of weight 0 too.
    """
    there = torch.ones_like(layer.weight) if dense else (layer.weight != 0)
    there = there.detach().double().cpu()
    if isinstance(layer, Linear):
        return there.sum(0)
    _, height, width = inputs
    kernels = there.sum(0).unsqueeze(1)  # [C, 1, K, K]: filters with a weight at that place
    padding, stride = (int(layer.padding[0]), int(layer.padding[1])), layer.stride
    places = F.conv2d(
        torch.ones(1, 1, height, width), torch.ones(1, 1, *layer.kernel_size), stride=stride, padding=padding
    )
    ones = torch.ones(1, len(kernels), *places.shape[2:], dtype=torch.float64)
    spread = F.conv_transpose2d(ones, kernels, stride=stride, groups=len(kernels))
    frame = torch.zeros(len(kernels), height + 2 * padding[0], width + 2 * padding[1], dtype=torch.float64)
    frame[:, : spread.shape[2], : spread.shape[3]] = spread[0]
    return frame[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]


@contextmanager
def _hooks(network: Network, found: Counts) -> Iterator[None]:
    """Count while the block runs."""
    drives = _drives(network)
    handles = [
        layer.register_forward_hook(_synapse_counter(found, name, neuron, owner))
        for name, (layer, neuron, owner) in drives.items()
    ]
    handles += [layer.register_forward_hook(_spike_counter(found, name)) for name, layer in network.neurons().items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _drives(network: Network) -> dict[str, tuple[nn.Module, str, bool]]:
    """Each layer that passes spikes on, the neuron layer that it drives, and whether it is the first that does.

    Layers are defined in the order in which they run, so a neuron layer is driven by all of them since the last
    one: in a residual block the second convolution and the shortcut drive the same neurons.
    """
    found: dict[str, tuple[nn.Module, str, bool]] = {}
    waiting: list[tuple[str, nn.Module]] = []
    for name, layer in network.layers.named_modules():
        if isinstance(layer, Conv | Linear | nn.Identity):
            waiting.append((name, layer))
        elif isinstance(layer, LIF):
            found |= {driver: (module, name, place == 0) for place, (driver, module) in enumerate(waiting)}
            waiting = []
    return found


def _spike_counter(found: Counts, name: str) -> Hook:
    def count_spikes(_layer: nn.Module, _inputs: tuple[Tensor, ...], spikes: Tensor) -> None:
        fired = torch.count_nonzero(spikes.flatten(1), dim=1).tolist()
        before = found.spikes.get(name, [0] * len(fired))
        found.spikes[name] = [a + b for a, b in zip(before, fired, strict=True)]
        found.neurons[name] = spikes[0, 0].numel()

    return count_spikes


def _synapse_counter(found: Counts, name: str, neuron: str, owner: bool) -> Hook:
    row: LayerCount | None = None
    reach = torch.empty(0)

    def count_synapses(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal row, reach
        x = inputs[0]
        constant = is_constant(x)
        if row is None:
            row = _new_row(layer, name, x, output, neuron, owner, data=not found.rows)
            row.constant = constant
            found.rows.append(row)
            reach = _reach(layer, row.inputs).flatten().to(x.device)
        for step in x[:1] if constant else x:
            for part in step.split(PART):
                _add(row, part, reach, times=len(x) if constant else 1)

    return count_synapses


def _add(row: LayerCount, step: Tensor, reach: Tensor, *, times: int) -> None:
    """Count one step [B, ...], which NeuroBench would have seen so many `times`."""
    values = step.flatten(1)
    nonzero = values != 0
    # per sample and exact: float64 holds whole numbers up to 2^53
    reached = nonzero.double() @ reach
    binary = ((values == 0) | (values == 1)).all(1)
    row.nonzero += int(nonzero.sum())
    row.slots += values.numel()
    row.reached += int(reached.sum())
    row.binary = row.binary and bool(binary.all())
    row.step_acs += times * int(reached[binary].sum())
    row.step_macs += times * int(reached[~binary].sum())


def _reach(layer: nn.Module, inputs: tuple[int, ...]) -> Tensor:
    if isinstance(layer, Conv | Linear):
        return fan_out(layer, inputs)
    return torch.ones(inputs, dtype=torch.float64)


def _new_row(
    layer: nn.Module, name: str, x: Tensor, output: Tensor, neuron: str, owner: bool, *, data: bool
) -> LayerCount:
    inputs, outputs = tuple(x.shape[2:]), tuple(output.shape[2:])
    dense = synapses = weights = 0
    kind, kernel = "shortcut", 1
    if isinstance(layer, Conv):
        kind, kernel = "conv", math.prod(layer.kernel_size)
        dense = math.prod(outputs) * layer.in_channels * kernel
    elif isinstance(layer, Linear):
        kind, dense = "linear", layer.in_features * layer.out_features
    if isinstance(layer, Conv | Linear):
        synapses, weights = int(fan_out(layer, inputs, dense=True).sum()), layer.weight.numel()
    return LayerCount(
        layer=name,
        kind=kind,
        inputs=inputs,
        outputs=outputs,
        channels=outputs[0],
        weights=weights,
        kernel=kernel,
        dense_ops=dense,
        synapses=synapses,
        neuron=neuron,
        owner=owner,
        data=data,
        constant=False,
    )
