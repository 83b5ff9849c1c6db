"""What a network decides of one sample."""

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch

from bpsta_cli.data.encoding import to_input
from bpsta_cli.evaluation.accuracy import counting_spikes, cumulative_votes
from bpsta_cli.network import Network


@dataclass(frozen=True)
class Prediction:
    """A decision.

    Attributes:
        label: the class with the highest mean vote, by its number.
        votes: the mean vote over time of every class.
        firing_rate: spikes / (neurons x time steps); None of a ReLU twin.
    """

    label: int
    votes: tuple[float, ...]
    firing_rate: float | None


@torch.no_grad()
def predict(
    network: Network, x: npt.NDArray[Any], *, T: int, scale: float, device: torch.device | str = "cpu"
) -> Prediction:
    """The decision about one sample, as `evaluate` makes it.

    Args:
        network: in evaluation mode.
        x: the sample as stored, [1, C, H, W] or [1, T, C, H, W].
        T: time steps.
        scale: the factor that x is multiplied by.
        device: where to compute; the network's.
    """
    with counting_spikes(network) as counts:
        votes = network.votes(to_input(x, T=T, scale=scale, device=device))
    total = cumulative_votes(votes)[-1, 0]
    spikes, neuron_steps = (sum(each[place] for each in counts.values()) for place in (0, 1))
    return Prediction(
        label=int(total.argmax()),
        votes=tuple((total / len(votes)).tolist()),
        firing_rate=spikes / neuron_steps if neuron_steps else None,
    )
