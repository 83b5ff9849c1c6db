"""Accuracy, loss, confusion and firing rates of a network on prepared samples."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Split, Store
from bpsta_cli.errors import DataError
from bpsta_cli.network import Network, losses
from bpsta_cli.network.neurons import LIF, Firing

EVAL_BATCH = 256
"""Samples a batch where no gradient is kept; the result does not depend on it."""

OnBatch = Callable[[int, int], None]
"""Told how many samples are done, of how many."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measures; every share is a fraction in [0, 1].

    Attributes:
        accuracy: share of samples whose highest mean vote is the label's.
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
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first `samples` of a split in order, as (input [T, B, C, H, W], labels [B]).

    Raises:
        DataError: the split is empty.
    """
    count = sample_count(store, split, samples)
    for start in range(0, count, size):
        part = slice(start, min(start + size, count))
        labels = torch.from_numpy(np.asarray(split.y[part])).to(device)
        yield to_input(split.x[part], T=T, scale=store.scale, device=device), labels


def sample_count(store: Store, split: Split, samples: int | None = None) -> int:
    """How many the first `samples` of a split are; all of it for None.

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
    on_batch: OnBatch | None = None,
) -> Evaluation:
    """Measure `network` on the first `samples` of `split` (all by default).

    Raises:
        DataError: the split is empty.
    """
    network.eval()
    classes = len(store.classes)
    confusion = torch.zeros(classes, classes, dtype=torch.int64)
    total = sample_count(store, split, samples)
    loss_sum, seen = 0.0, 0
    with counting_spikes(network) as counts:
        for x, labels in batches(store, split, T, device=device, samples=samples):
            votes = network.votes(x)
            loss_sum += losses.loss(loss, votes, labels).item() * len(labels)
            predictions = so_far(votes)[-1].argmax(1)
            cells = labels * classes + predictions
            confusion += torch.bincount(cells, minlength=classes**2).view(classes, classes).cpu()
            seen += len(labels)
            if on_batch:
                on_batch(seen, total)
    spikes, neuron_steps = sum(s for s, _ in counts.values()), sum(n for _, n in counts.values())
    return Evaluation(
        accuracy=confusion.diagonal().sum().item() / seen,
        loss=loss_sum / seen,
        samples=seen,
        firing_rate=spikes / neuron_steps if neuron_steps else None,
        firing_rates={name: s / n for name, (s, n) in counts.items()},
        confusion=confusion.tolist(),
    )


def so_far(votes: Tensor) -> Tensor:
    """Votes [T, B, classes] summed up to each step; the highest is that of the mean vote.

    In float64, where sums of votes are exact: a tie is then one in whatever order they are added.
    """
    return votes.double().cumsum(0)


@contextmanager
def counting_spikes(network: Network) -> Iterator[dict[str, tuple[int, int]]]:
    """Count, while the block runs, each neuron layer's (spikes, neurons x steps x samples)."""
    counts: dict[str, tuple[int, int]] = {}

    def watcher(name: str, _neuron: LIF) -> Callable[[Firing], None]:
        def count(firing: Firing) -> None:
            fired, slots = counts.get(name, (0, 0))
            counts[name] = (fired + int(firing.spikes), slots + firing.slots)

        return count

    with network.watched(watcher):
        yield counts


@contextmanager
def event_driven(network: Network) -> Iterator[dict[str, float]]:
    """While the block runs: the share of each convolution's images for which it was sparse."""
    shares: dict[str, float] = {}
    with ExitStack() as stack:
        for name, conv in network.convolutions().items():
            watcher = _sharing(name, shares)
            conv.watchers.append(watcher)
            stack.callback(conv.watchers.remove, watcher)
        yield shares


def _sharing(name: str, shares: dict[str, float]) -> Callable[[int, bool], None]:
    counts = Counter[bool]()

    def count(images: int, summed: bool) -> None:
        counts[summed] += images
        shares[name] = counts[True] / counts.total()

    return count
