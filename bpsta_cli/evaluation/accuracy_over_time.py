"""Accuracy over time: the decision after every step of one forward pass, and for other numbers of time steps."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpsta_cli.data.store import Split, Store
from bpsta_cli.errors import RunError
from bpsta_cli.evaluation.accuracy import OnBatch, batches, cumulative_votes, sample_count
from bpsta_cli.network import Network


@dataclass(frozen=True)
class Anytime:
    """The decision on each sample after each step, by the votes of the steps so far.

    Attributes:
        predictions: the class with the highest cumulative votes, int64 [T, N].
        margins: distance between the two highest mean votes (`margin`), float64 [T, N].
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
        """Whether the decision after the step is right: bool [T, N]."""
        return self.predictions == self.labels

    def accuracy_at(self) -> dict[str, float]:
        """Accuracy after t = 1..T steps, a fraction for each t (as text)."""
        return {str(t): row.sum().item() / len(self) for t, row in enumerate(self.correct, start=1)}

    def every_second(self, first: int) -> "Anytime":
        """The samples first, first + 2, ...; in stores that are in order of the label, half of each class."""
        rows = slice(first, None, 2)
        return Anytime(self.predictions[:, rows], self.margins[:, rows], self.labels[rows])

    def shortened(self, T: int) -> "Anytime":
        """The first T steps. A pass of T steps gives the same, as no step of a network depends on later ones."""
        return Anytime(self.predictions[:T], self.margins[:T], self.labels)


def margin(sums: Tensor, steps: int | Tensor) -> Tensor:
    """Distance between the two highest mean votes: [..., classes] -> [...], in [0, 1] for spikes.

    Args:
        sums: cumulative votes, float64.
        steps: over how many steps they are summed.
    """
    highest = sums.topk(min(2, sums.shape[-1])).values
    return (highest[..., 0] - highest[..., -1]) / steps


def twin_error(name: str = "") -> RunError:
    """The error of a run that has no time steps to measure."""
    return RunError(
        "a run without time steps",
        expected="a run of a spiking method",
        got=f"{name and f'{name}, '}a run of ann, the ReLU twin",
        todo="Give a run of stbp, bpsa or bpsta; its twin is timed beside it.",
    )


def require_spiking(network: Network) -> None:
    """Raise an error for the ReLU twin.

    Raises:
        RunError: the network is a ReLU twin and has no time steps.
    """
    if not network.spiking:
        raise twin_error()


@torch.no_grad()
def decisions_over_time(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    split: Split | None = None,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> Anytime:
    """The decisions after t = 1..T steps of one forward pass of each sample.

    Args:
        network: of a spiking method.
        store: the prepared data.
        T: time steps.
        device: where to compute; the result is on the CPU.
        split: of the store; None for its test part.
        samples: only the first so many of them; None for all.
        on_batch: called after every batch with how many samples are done.

    Raises:
        RunError: the network is a ReLU twin and has no time steps.
        DataError: no samples, or frames that were cut for another T.
    """
    require_spiking(network)
    network.eval()
    split = store.split("test") if split is None else split
    total = sample_count(store, split, samples)
    steps = torch.arange(1, T + 1, dtype=torch.float64, device=device).unsqueeze(1)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    done = 0
    for x, labels in batches(store, split, T, device=device, samples=samples, network=network):
        sums = cumulative_votes(network.votes(x))
        parts.append((sums.argmax(-1).cpu(), margin(sums, steps).cpu(), labels.cpu()))
        done += len(labels)
        if on_batch:
            on_batch(done, total)
    predictions, margins, truth = zip(*parts, strict=True)
    return Anytime(torch.cat(predictions, 1), torch.cat(margins, 1), torch.cat(truth))


def at_time_steps(
    trained: Anytime,
    time_steps: Iterable[int],
    decisions_at: Callable[[int], Anytime],
    *,
    rebinned: bool,
) -> list[dict[str, Any]]:
    """The same weights at other numbers of time steps than they were trained with.

    An image is the same at every step: the pass with the largest T holds all the others. The events of a
    recording are binned into T frames anew for every T, so that each pass sees the whole recording.

    Args:
        trained: the pass at the T of training.
        time_steps: the numbers of time steps to evaluate.
        decisions_at: makes the pass of T steps.
        rebinned: whether the frames depend on T, as those of a recording do.

    Returns:
        A dictionary for each T: T, accuracy and accuracy_at (as `Anytime.accuracy_at`).
    """
    wanted = sorted(set(time_steps))
    if rebinned:
        passes = {T: trained if T == trained.T else decisions_at(T) for T in wanted}
    else:
        longest = trained if max(wanted) <= trained.T else decisions_at(max(wanted))
        passes = {T: longest.shortened(T) for T in wanted}
    accuracies = {T: decisions.accuracy_at() for T, decisions in passes.items()}
    return [{"T": T, "accuracy": at[str(T)], "accuracy_at": at} for T, at in accuracies.items()]
