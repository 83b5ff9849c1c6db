"""Accuracy over time: what the votes so far say after every step of one forward pass, and at other lengths."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpsta_cli.data.store import Split, Store
from bpsta_cli.errors import RunError
from bpsta_cli.evaluation.accuracy import OnBatch, batches, sample_count, so_far
from bpsta_cli.network import Network


@dataclass(frozen=True)
class Anytime:
    """What the votes so far say of each sample, after each step; everything that a decision at any time needs.

    Attributes:
        predictions: class of the highest vote so far, int64 [T, N].
        margins: distance between the two highest mean votes so far (`margin`), float64 [T, N].
        labels: int64 [N].
    """

    predictions: Tensor
    margins: Tensor
    labels: Tensor

    @property
    def T(self) -> int:  # noqa: N802 - the field's name
        """Time steps of the pass."""
        return len(self.predictions)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def correct(self) -> Tensor:
        """Whether the sample would be right after the step: bool [T, N]."""
        return self.predictions == self.labels

    def accuracy_at(self) -> dict[str, float]:
        """Accuracy after t = 1..T steps: t as text -> fraction."""
        return {str(t): row.sum().item() / len(self) for t, row in enumerate(self.correct, start=1)}

    def every_second(self, first: int) -> "Anytime":
        """The samples first, first + 2, ...; in stores that are in order of the label, half of each class."""
        rows = slice(first, None, 2)
        return Anytime(self.predictions[:, rows], self.margins[:, rows], self.labels[rows])

    def shortened(self, T: int) -> "Anytime":
        """The first T steps; the network never looks ahead, so a shorter pass would have said the same."""
        return Anytime(self.predictions[:T], self.margins[:T], self.labels)


def margin(sums: Tensor, steps: int | Tensor) -> Tensor:
    """Distance between the two highest mean votes: [..., classes] -> [...], in [0, 1] for spikes.

    Args:
        sums: votes summed up over the steps so far, float64.
        steps: how many those are.
    """
    highest = sums.topk(min(2, sums.shape[-1])).values
    return (highest[..., 0] - highest[..., -1]) / steps


def refuse_twin(name: str = "") -> RunError:
    """The error of a run that has no time steps to measure."""
    return RunError(
        "a run without time steps",
        expected="a run of a spiking method",
        got=f"{name and f'{name}, '}a run of ann, the ReLU twin",
        todo="Give a run of stbp, bpsa or bpsta; its twin is timed beside it.",
    )


def needs_steps(network: Network) -> None:
    """Refuse the ReLU twin.

    Raises:
        RunError: the network has no time steps.
    """
    if not network.spiking:
        raise refuse_twin()


@torch.no_grad()
def follow(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    split: Split | None = None,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> Anytime:
    """Votes so far after t = 1..T steps of one forward pass a sample.

    Args:
        network: of a spiking method.
        store: the prepared data.
        T: time steps.
        device: where to compute; the result is on the CPU.
        split: of the store; None for its test part.
        samples: only the first so many of them; None for all.
        on_batch: told after every batch how many samples are done.

    Raises:
        RunError: the network is a ReLU twin and has no time steps.
        DataError: no samples, or frames that were cut for another T.
    """
    needs_steps(network)
    network.eval()
    split = store.split("test") if split is None else split
    total = sample_count(store, split, samples)
    steps = torch.arange(1, T + 1, dtype=torch.float64, device=device).unsqueeze(1)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    seen = 0
    for x, labels in batches(store, split, T, device=device, samples=samples):
        sums = so_far(network.votes(x))
        parts.append((sums.argmax(-1).cpu(), margin(sums, steps).cpu(), labels.cpu()))
        seen += len(labels)
        if on_batch:
            on_batch(seen, total)
    predictions, margins, truth = zip(*parts, strict=True)
    return Anytime(torch.cat(predictions, 1), torch.cat(margins, 1), torch.cat(truth))


def at_lengths(
    own: Anytime,
    lengths: Iterable[int],
    follow_at: Callable[[int], Anytime],
    *,
    recut: bool,
) -> list[dict[str, Any]]:
    """The same weights at other numbers of steps than they were trained with.

    Images simply run longer or shorter: one pass of the longest length holds all the others. Recordings are
    cut anew for every length, so that each is shown whole.

    Args:
        own: the pass at the run's own T.
        lengths: numbers of steps wanted.
        follow_at: makes the pass of T steps.
        recut: whether another T shows other frames.

    Returns:
        A dictionary for each length: T, accuracy and accuracy_at (as `Anytime.accuracy_at`).
    """
    wanted = sorted(set(lengths))
    if recut:
        passes = {T: own if T == own.T else follow_at(T) for T in wanted}
    else:
        longest = own if max(wanted) <= own.T else follow_at(max(wanted))
        passes = {T: longest.shortened(T) for T in wanted}
    return [{"T": T, "accuracy": (at := seen.accuracy_at())[str(T)], "accuracy_at": at} for T, seen in passes.items()]
