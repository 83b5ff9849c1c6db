"""Each layer's gain is set so that the layer fires at a given rate when the network begins to spike.

A layer's current is linear in its gain (a norm's gain and shift, or weight and bias where there is no norm): a factor
on it acts as a lower threshold does. The weights of the epochs before, of the ReLU twin, know nothing of a threshold.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Split, Store
from bpsta_cli.distributed.division import Division, dividing
from bpsta_cli.evaluation.accuracy import counting_spikes
from bpsta_cli.network import Network
from bpsta_cli.network.neurons import LIF
from bpsta_cli.network.norms import FoldedNorm, unnormalised
from bpsta_cli.training import optimisers
from bpsta_cli.training.epoch import Learner, batches_of

CLOSE = 0.01
"""Firing rate, spikes a neuron and step, to within which a layer is brought."""
HALVINGS = 12
"""Most halvings of the range of factors; at the end of it the factor is known to about 0.2 %."""
LARGEST = 64.0
"""Largest factor on a gain; the smallest is 1 / 64."""


def set_gains(learner: Learner, store: Store, part: Split, epoch: int) -> None:
    """Bring each layer, in order, to the settings' initial_rate on the first batch of the epoch, if there is one.

    The batch is passed as in training, with its own statistics and dropout, one part of it where a batch is computed in
    parts. A layer that cannot reach the rate is left at the nearest factor. Running statistics stay as they are.

    Args:
        learner: what is trained; its network spikes.
        store: the prepared data.
        part: the samples to train on.
        epoch: the first with spikes.
    """
    settings, network = learner.settings, learner.network
    rate = settings.training.initial_rate
    if rate is None:
        return
    parts = next(batches_of(learner, store, part, epoch, first=0)).parts(settings.training.accumulate, learner.computed)
    batch, divided = parts[0], learner.division(len(parts[0].y))
    x = to_input(batch.x, T=settings.T, scale=store.scale, device=learner.device)
    network.train()
    with (
        torch.no_grad(),
        _buffers_kept(network),
        network.convolution_as(settings.training.convolution),
        network.dropout_by(settings.seed, epoch),
        optimisers.autocast(settings.training, learner.device),
        dividing(divided),
    ):
        network.dropout_samples(batch.rows[learner.computed(len(batch.y))].tolist())
        for name, gains in gains_of(network).items():
            _bisect(network, x, name, gains, rate, divided)


def gains_of(network: Network) -> dict[str, list[Tensor]]:
    """What each layer of neurons has its current's gain from, by its name and in order.

    Where branches of a residual block are added before the neurons, it is the gains of all of them.
    """
    found: dict[str, list[Tensor]] = {}
    since: list[Tensor] = []
    without_norm = unnormalised(network)
    for name, layer in network.layers.named_modules():
        if isinstance(layer, FoldedNorm) or layer in without_norm:
            since.extend(layer.parameters(recurse=False))
        elif isinstance(layer, LIF):
            found[name], since = since, []
    return found


def _bisect(
    network: Network, x: Tensor, name: str, gains: list[Tensor], wanted: float, divided: Division | None
) -> None:
    before = [gain.clone() for gain in gains]
    low, high = 1 / LARGEST, LARGEST
    for _ in range(HALVINGS):
        factor = math.sqrt(low * high)  # the first is 1
        for gain, value in zip(gains, before, strict=True):
            gain.copy_(value * factor)
        rate = _rate(network, x, name, divided)
        if abs(rate - wanted) <= CLOSE:
            return
        low, high = (factor, high) if rate < wanted else (low, factor)


def _rate(network: Network, x: Tensor, name: str, divided: Division | None) -> float:
    with counting_spikes(network) as counts:
        network.votes(x)
    spikes, neuron_steps = counts[name]
    if divided is not None:
        spikes, neuron_steps = divided.ranks.sums([0, 0] if divided.stand_in else [spikes, neuron_steps])
    return spikes / neuron_steps


@contextmanager
def _buffers_kept(network: nn.Module) -> Iterator[None]:
    before = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)
