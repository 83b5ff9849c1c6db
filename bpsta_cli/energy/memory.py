"""The account with memory: Lemaire et al. 2022, "An analytical estimation of spiking neural networks energy
efficiency" (arXiv:2210.13107, ICONIP 2022): operations, addressing, and every read and write of a memory whose cost
grows with its size.

The equations are taken from the docstrings of Qualia's EnergyEstimationMetric (the authors' laboratory), which number
them, and compared with SpikingJelly's LemaireEnergyProfiler; the article itself could not be read. theta is the number
of spikes a sample, N the neurons of a layer, T the time steps:

    spiking    operations  theta per synapse reached; T N leaks and biases; theta_out resets     Eq. 1.3 1.4 2.3 2.4
               addressing  theta x 2 multiply-accumulates (convolution), theta per synapse       Eq. 16.2 16.3 17.2
               reads       theta from the queue; a weight per synapse; T N biases                Eq. 5 7 8
               potentials  read and written per synapse reached, and T N times                   Eq. 9 10 14 15
               writes      theta_out to the queue                                                Eq. 13
    twin       operations  a multiply-accumulate per synapse; N biases                           Eq. 1.1 1.2 2.1 2.2
               addressing  inputs + outputs (+ channels x kernel for a convolution)              (not numbered there)
               reads       an input and a weight per synapse (inputs once if linear); N biases   Eq. 3 4 6
               writes      N outputs                                                             Eq. 11 12

Where they bound the synapses that a spike reaches by the size of the kernel, this account has the exact count.
A layer whose input is the same at every step is computed once, as in the twin; its currents are then read at each step.
"""

from dataclasses import dataclass, fields

from bpsta_cli.energy.costs import QUEUE_VALUES, Prices, Tech
from bpsta_cli.energy.counts import Counts, LayerCount
from bpsta_cli.energy.operations import dense_pj, synapse_pj


@dataclass
class Parts:
    """Energy a sample by what it is spent on, pJ."""

    operations: float = 0.0
    addressing: float = 0.0
    inputs: float = 0.0
    weights: float = 0.0
    biases: float = 0.0
    potentials: float = 0.0
    outputs: float = 0.0

    @property
    def total(self) -> float:
        """All parts."""
        return sum(self.by_name().values())

    def by_name(self) -> dict[str, float]:
        """The parts as a dictionary."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def __add__(self, other: "Parts") -> "Parts":
        """Part by part."""
        return Parts(**{name: value + getattr(other, name) for name, value in self.by_name().items()})


def snn_parts(row: LayerCount, counts: Counts, prices: Prices, tech: Tech, rate_factor: float = 1.0) -> Parts:
    """The spiking network at one layer and, where it owns them, its neurons.

    Args:
        row: the layer.
        counts: of which evaluation.
        prices: what operations cost.
        tech: what memory and addresses cost.
        rate_factor: the firing rate of all neurons is multiplied by it.
    """
    if row.data and row.constant:
        parts = _dense(row, prices, tech, output_bits=prices.potential_bits)
        parts.potentials += row.neurons * counts.updating_steps * tech.access_pj(row.neurons, prices.potential_bits)
    else:
        parts = _events(row, counts.evaluation.samples, prices, tech, 1.0 if row.data else rate_factor)
    return parts + _neurons(row, counts, prices, tech, rate_factor) if row.owner else parts


def ann_parts(row: LayerCount, prices: Prices, tech: Tech) -> Parts:
    """The twin at one layer, one dense pass."""
    parts = _dense(row, prices, tech, output_bits=prices.activation_bits)
    if row.owner:
        parts.operations += row.neurons * (prices.spike + prices.requantise)
        parts.biases += row.neurons * tech.access_pj(row.channels, prices.weight_bits)
    else:  # what the layers before it summed up
        parts.inputs += row.neurons * tech.access_pj(row.neurons, prices.activation_bits)
    return parts


def _events(row: LayerCount, samples: int, prices: Prices, tech: Tech, rate_factor: float) -> Parts:
    """Each non-zero input is a message that finds its synapses and their neurons' potentials."""
    events, reached = row.nonzero / samples * rate_factor, row.reached / samples * rate_factor
    coordinates = 2 * events if row.kind == "conv" else 0.0
    return Parts(
        operations=reached * synapse_pj(row, prices),
        addressing=coordinates * (tech.int_multiply_pj + tech.int_add_pj) + reached * tech.int_add_pj,
        inputs=events * tech.access_pj(QUEUE_VALUES, prices.value_bits),
        weights=reached * tech.access_pj(row.weights, prices.weight_bits) if row.weights else 0.0,
        potentials=2 * reached * tech.access_pj(row.neurons, prices.potential_bits),
    )


def _neurons(row: LayerCount, counts: Counts, prices: Prices, tech: Tech, rate_factor: float) -> Parts:
    updates = row.neurons * counts.updating_steps
    spikes = sum(counts.spike_counts.get(row.neuron, [])) / counts.evaluation.samples * rate_factor
    return Parts(
        operations=updates * (prices.update + prices.spike) + spikes * prices.spike,
        biases=updates * tech.access_pj(row.channels, prices.weight_bits),
        potentials=2 * updates * tech.access_pj(row.neurons, prices.potential_bits),
        outputs=spikes * tech.access_pj(QUEUE_VALUES, prices.value_bits),
    )


def _dense(row: LayerCount, prices: Prices, tech: Tech, *, output_bits: int) -> Parts:
    """Every input at every synapse, once."""
    bits = prices.value_bits if row.data else prices.activation_bits
    values = 1
    for size in row.inputs:
        values *= size
    reads = row.synapses if row.kind == "conv" else values
    addresses = values + row.neurons + (row.channels * row.kernel if row.kind == "conv" else 0)
    return Parts(
        operations=row.neurons * prices.spike if row.kind == "shortcut" else row.synapses * dense_pj(row, prices),
        addressing=addresses * tech.int_add_pj,
        inputs=reads * tech.access_pj(values, bits),
        weights=row.synapses * tech.access_pj(row.weights, prices.weight_bits) if row.weights else 0.0,
        outputs=row.neurons * tech.access_pj(row.neurons, output_bits),
    )
