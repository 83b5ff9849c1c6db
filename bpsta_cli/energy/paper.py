"""The paper's account: FLOPs, the mean firing rate, and two constants."""

from bpsta_cli.energy.comparison import ratio
from bpsta_cli.energy.costs import PAPER_AC, PAPER_MAC
from bpsta_cli.energy.counts import Counts


def paper_estimate(dense_ops: int, firing_rate: float, T: int) -> dict[str, float | None]:
    """The paper's account, Eq. 1: E_ANN = FLOPs * 4.6 pJ, E_SNN = FLOPs * firing rate * 0.1 pJ * T.

    It treats the input of every layer as spikes that cost an integer addition each, and leaves out memory, neuron
    updates and the real values of the first layer's input. The ratio is 46 / (T * firing rate), whatever the network.

    Args:
        dense_ops: multiply-accumulates of one dense pass of one sample (the paper's FLOPs).
        firing_rate: mean over all neurons and steps, in [0, 1].
        T: time steps.

    Returns:
        e_ann_pj and e_snn_pj in picojoule a sample, ratio = e_ann_pj / e_snn_pj (None for a silent network).
    """
    e_ann, e_snn = dense_ops * PAPER_MAC, dense_ops * firing_rate * PAPER_AC * T
    return {"ratio": ratio(e_ann, e_snn), "e_ann_pj": e_ann, "e_snn_pj": e_snn}


def account(counts: Counts) -> dict[str, float | None]:
    """`paper_estimate` of what was counted; the ReLU twin has no estimate of a spiking network."""
    dense, rate = sum(row.dense_ops for row in counts.rows), counts.evaluation.firing_rate
    if rate is None:
        return {"ratio": None, "e_ann_pj": dense * PAPER_MAC, "e_snn_pj": None}
    return paper_estimate(dense, rate, counts.T)
