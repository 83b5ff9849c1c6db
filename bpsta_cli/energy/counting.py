"""Counts what happens at every synapse and neuron while a network is evaluated."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpsta_cli.data.store import Store
from bpsta_cli.energy.counts import Counts, LayerCount
from bpsta_cli.energy.synapses import fan_out, reach
from bpsta_cli.evaluation.accuracy import OnBatch, evaluate
from bpsta_cli.network import Network
from bpsta_cli.network.layers import Conv, Linear, is_constant
from bpsta_cli.network.neurons import LIF

PART = 32
"""Samples counted at a time: float64 of a layer's whole input would be large."""
Hook = Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]


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
        found.evaluation = evaluate(
            network, store, store.split("test"), T=T, device=device, samples=samples, on_batch=on_batch
        )
    return found


@contextmanager
def _hooks(network: Network, found: Counts) -> Iterator[None]:
    """Count into `found` while the context is open."""
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
    """Each layer that drives neurons, the neuron layer that it drives, and whether it is the first that does.

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
        spike_count = torch.count_nonzero(spikes.flatten(1), dim=1).tolist()
        before = found.spike_counts.get(name, [0] * len(spike_count))
        found.spike_counts[name] = [a + b for a, b in zip(before, spike_count, strict=True)]
        found.neurons[name] = spikes[0, 0].numel()

    return count_spikes


def _synapse_counter(found: Counts, name: str, neuron: str, owner: bool) -> Hook:
    row: LayerCount | None = None
    synapses = torch.empty(0)

    def count_synapses(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal row, synapses
        x = inputs[0]
        constant = is_constant(x)
        if row is None:
            row = _new_row(layer, name, x, output, neuron, owner, data=not found.rows)
            row.constant = constant
            found.rows.append(row)
            synapses = reach(layer, row.inputs).flatten().to(x.device)
        for step in x[:1] if constant else x:
            for part in step.split(PART):
                _add(row, part, synapses, times=len(x) if constant else 1)

    return count_synapses


def _add(row: LayerCount, step: Tensor, synapses: Tensor, *, times: int) -> None:
    """Count one step [B, ...], which NeuroBench counts so many `times`."""
    values = step.flatten(1)
    nonzero = values != 0
    # per sample and exact: float64 holds whole numbers up to 2^53
    reached = nonzero.double() @ synapses
    binary = ((values == 0) | (values == 1)).all(1)
    row.nonzero += int(nonzero.sum())
    row.input_values += values.numel()
    row.reached += int(reached.sum())
    row.binary = row.binary and bool(binary.all())
    row.step_acs += times * int(reached[binary].sum())
    row.step_macs += times * int(reached[~binary].sum())


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
