"""The counted account: the operations that happen, and nothing else."""

from bpsta_cli.energy.costs import Prices
from bpsta_cli.energy.counts import Counts, LayerCount


def snn_pj(row: LayerCount, counts: Counts, prices: Prices, rate_factor: float = 1.0) -> float:
    """Operations of the spiking network at one layer, pJ a sample.

    A spike is an addition at every synapse that it reaches, any other value a multiply-accumulate. An input that is
    the same at every step counts once. A neuron's update is a multiply-accumulate a step, for leak and bias; its
    comparison with the threshold and its reset are not counted.

    Args:
        row: the layer.
        counts: of which evaluation.
        prices: what operations cost.
        rate_factor: the firing rate of all neurons is multiplied by it.
    """
    driven = row.reached / counts.evaluation.samples * (1.0 if row.data else rate_factor)
    updates = row.neurons * counts.updating_steps if row.owner else 0
    return driven * synapse_pj(row, prices) + updates * prices.update


def synapse_pj(row: LayerCount, prices: Prices) -> float:
    """A non-zero input at one synapse; a shortcut adds every value that passes through it."""
    return prices.spike if row.binary or row.kind == "shortcut" else prices.value


def ann_pj(row: LayerCount, prices: Prices) -> float:
    """Operations of the twin at one layer, one dense pass: every synapse within the image, pJ a sample."""
    if row.kind == "shortcut":
        return row.neurons * prices.spike
    return row.synapses * dense_pj(row, prices) + (row.neurons * prices.requantise if row.owner else 0)


def dense_pj(row: LayerCount, prices: Prices) -> float:
    """The twin's multiply-accumulate at one synapse."""
    return prices.value if row.data else prices.activation
