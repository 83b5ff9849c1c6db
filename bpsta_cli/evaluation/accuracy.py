"""Accuracy, loss, confusion and firing rates of a network on prepared samples."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Split, Store
from bpsta_cli.devices import memory_bytes
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.errors import DataError
from bpsta_cli.network import Network, losses
from bpsta_cli.network.memory import evaluation_batch
from bpsta_cli.network.neurons import LIF, SpikeActivity

EVAL_BATCH = 256
"""Samples of a batch where no gradient is kept; the result does not depend on it."""

LOSS_SAMPLES = 1024
"""Samples whose losses are added up at once: a number of its own, as batches are as large as memory allows."""

OnBatch = Callable[[int, int], None]
"""Called with how many samples are done, and of how many."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures; every share is a fraction in [0, 1].

    Attributes:
        accuracy: share of samples for which the class with the highest mean vote is the label.
        loss: the training loss, mean over samples.
        samples: how many were evaluated.
        firing_rate: spikes / (neurons x time steps x samples) over all neurons of the network.
        firing_rates: the same for each layer of neurons.
        confusion: [label][prediction] counts.
    """

    accuracy: float
    loss: float
    samples: int
    firing_rate: float | None
    firing_rates: dict[str, float]
    confusion: list[list[int]]


def batches(
    store: Store,
    split: Split,
    T: int,
    *,
    device: torch.device,
    samples: int | None = None,
    size: int = EVAL_BATCH,
    network: Network | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `samples` of a split in order, as (input [T, B, C, H, W], labels [B]).

    Args:
        store: of the split.
        split: the samples.
        T: time steps.
        device: where the inputs go.
        samples: how many; None for all.
        size: of a batch.
        network: what they are for; where so many of its potentials would not fit into memory, batches are smaller.

    Raises:
        DataError: the split is empty.
    """
    count = sample_count(store, split, samples)
    if network is not None:
        size = _fitting(network, split, T, device, size)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        labels = torch.from_numpy(np.asarray(split.y[part])).to(device)
        yield to_input(split.x[part], T=T, scale=store.scale, device=device), labels


def _fitting(network: Network, split: Split, T: int, device: torch.device, most: int) -> int:
    channels, height, width = split.x[:1].shape[-3:]
    return evaluation_batch(network, (channels, height, width), T=T, most=most, memory=memory_bytes(device))


def sample_count(store: Store, split: Split, samples: int | None = None) -> int:
    """The number of the first `samples` of a split: at most all of them; None stands for all.

    Raises:
        DataError: the split is empty.
    """
    if len(split) == 0:
        raise DataError(
            "nothing to evaluate",
            expected="at least one sample",
            got=f"an empty split in {store.path}",
            todo="Prepare the data set again from a complete source.",
        )
    return len(split) if samples is None else min(samples, len(split))


@torch.no_grad()
def evaluate(
    network: Network,
    store: Store,
    split: Split,
    *,
    T: int,
    device: torch.device,
    samples: int | None = None,
    loss: str = "mse",
    rates: losses.Rates = losses.RATES,
    on_batch: OnBatch | None = None,
    ranks: Ranks | None = None,
) -> Evaluation:
    """Measure `network` on the first `samples` of `split` (all by default).

    `loss` and `rates` are those of `losses.loss`; nothing is smoothed. Several processes evaluate some samples each,
    none twice and none left out, and come to the same result, that of one.

    Raises:
        DataError: the split is empty.
    """
    network.eval()
    classes = len(store.classes)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    total = sample_count(store, split, samples)
    mean_loss, done = _MeanLoss(loss, rates), 0
    with counting_spikes(network) as counts:
        for votes, labels in _voted(network, store, split, T, device=device, samples=samples, ranks=ranks):
            mean_loss.add(votes, labels)
            predictions = cumulative_votes(votes)[-1].argmax(1)
            pairs = labels * classes + predictions
            confusion += torch.bincount(pairs, minlength=classes**2).view(classes, classes).cpu()
            done += len(labels)
            if on_batch:
                on_batch(done, total)
    if ranks is not None:
        counts = _of_all(counts, network, ranks)
    spike_count, neuron_steps = sum(s for s, _ in counts.values()), sum(n for _, n in counts.values())
    return Evaluation(
        accuracy=confusion.diagonal().sum().item() / done,
        loss=mean_loss.value(),
        samples=done,
        firing_rate=spike_count / neuron_steps if neuron_steps else None,
        firing_rates={name: s / n for name, (s, n) in counts.items()},
        confusion=confusion.tolist(),
    )


def _voted(
    network: Network,
    store: Store,
    split: Split,
    T: int,
    *,
    device: torch.device,
    samples: int | None,
    ranks: Ranks | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Votes [T, B, classes] and labels [B] of the samples in order; each process computes some of a batch's."""
    if ranks is None:
        for x, labels in batches(store, split, T, device=device, samples=samples, network=network):
            yield network.votes(x), labels
        return
    count = sample_count(store, split, samples)
    size = ranks.least(_fitting(network, split, T, device, EVAL_BATCH)) * ranks.world  # machines differ in memory
    for start in range(0, count, size):
        end = min(start + size, count)
        bounds = [start + (end - start) * rank // ranks.world for rank in range(ranks.world + 1)]
        first, last = bounds[ranks.rank : ranks.rank + 2]
        x = to_input(split.x[first : max(last, first + 1)], T=T, scale=store.scale, device=device)
        if first < last:
            votes = network.votes(x)
        else:  # fewer samples than processes: nothing to compute, and the same shape of it
            votes = torch.zeros(len(network.layer_input(x)), 0, len(store.classes), device=device)
        sizes = [after - before for before, after in itertools.pairwise(bounds)]
        yield ranks.gather_samples(votes, sizes), torch.from_numpy(np.asarray(split.y[start:end])).to(device)


def _of_all(counts: dict[str, tuple[int, int]], network: Network, ranks: Ranks) -> dict[str, tuple[int, int]]:
    """What every process counted of each layer of neurons, added."""
    names = list(network.neurons())
    sums = iter(ranks.sums([number for name in names for number in counts.get(name, (0, 0))]))
    return {name: (next(sums), next(sums)) for name in names}


class _MeanLoss:
    """The mean loss of samples that come in batches of any size, with the same bits for every size."""

    def __init__(self, name: str, rates: losses.Rates) -> None:
        self.name, self.rates = name, rates
        self._sum, self._samples = 0.0, 0
        self._waiting: list[tuple[Tensor, Tensor]] = []

    def add(self, votes: Tensor, labels: Tensor) -> None:
        """Take in votes [T, B, classes] and labels [B]."""
        self._waiting.append((votes, labels))
        while sum(len(labels) for _, labels in self._waiting) >= LOSS_SAMPLES:
            self._add_up(LOSS_SAMPLES)

    def value(self) -> float:
        """The mean loss of all samples."""
        while self._waiting:
            self._add_up(LOSS_SAMPLES)
        return self._sum / self._samples

    def _add_up(self, most: int) -> None:
        """Add the losses of the first `most` samples that wait."""
        votes = torch.cat([votes for votes, _ in self._waiting], 1)
        labels = torch.cat([labels for _, labels in self._waiting])
        first = labels[:most]
        self._sum += losses.loss(self.name, votes[:, :most], first, rates=self.rates).item() * len(first)
        self._samples += len(first)
        self._waiting = [(votes[:, most:], labels[most:])] if len(labels) > most else []


def cumulative_votes(votes: Tensor) -> Tensor:
    """Votes [T, B, classes] summed over the steps up to each; the class of the highest has the highest mean vote.

    Sums of votes are exact in float64: two classes that tie do so in whatever order their votes are added.
    """
    sums = [votes[0].double()]
    for step in votes[1:]:
        sums.append(sums[-1] + step)
    return torch.stack(sums)


@contextmanager
def counting_spikes(network: Network) -> Iterator[dict[str, tuple[int, int]]]:
    """Count, while the context is open, each neuron layer's (spikes, neurons x steps x samples)."""
    counts: dict[str, tuple[int, int]] = {}

    def counter(name: str, _neuron: LIF) -> Callable[[SpikeActivity], None]:
        def count(activity: SpikeActivity) -> None:
            spike_count, neuron_steps = counts.get(name, (0, 0))
            counts[name] = (spike_count + int(activity.spike_count), neuron_steps + activity.neuron_steps)

        return count

    with network.observed(counter):
        yield counts


@contextmanager
def sparse_shares(network: Network) -> Iterator[dict[str, float]]:
    """While the context is open: the share of each convolution's images for which a sparse convolution was used."""
    shares: dict[str, float] = {}
    with ExitStack() as stack:
        for name, conv in network.convolutions().items():
            observer = _share_counter(name, shares)
            conv.observers.append(observer)
            stack.callback(conv.observers.remove, observer)
        yield shares


def _share_counter(name: str, shares: dict[str, float]) -> Callable[[int, bool], None]:
    counts = Counter[bool]()

    def count(images: int, sparse: bool) -> None:
        counts[sparse] += images
        shares[name] = counts[True] / counts.total()

    return count
