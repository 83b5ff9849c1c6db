"""How far an exported network votes as the network itself, sample by sample."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bpsta_cli.evaluation.accuracy import cumulative_votes


@dataclass
class Agreement:
    """Counts over the samples that both have voted on."""

    samples: int = 0
    differing_decisions: int = 0
    differing_votes: int = 0
    votes: int = 0
    largest_difference: float = 0.0
    correct_here: int = 0
    correct_there: int = 0

    def add(self, here: Tensor, there: Tensor, labels: Tensor, decisions: Tensor | None = None) -> None:
        """Count a batch.

        Args:
            here: the network's votes of every step, [T, B, classes].
            there: the exported network's, in the same shape.
            labels: the classes [B].
            decisions: the exported network's own decisions [B]; None: the class of its highest sum of votes.
        """
        ours = cumulative_votes(here)[-1].argmax(1)
        theirs = cumulative_votes(there)[-1].argmax(1) if decisions is None else decisions
        self.samples += len(labels)
        self.differing_decisions += int((ours != theirs).sum())
        self.differing_votes += int((here != there).sum())
        self.votes += here.numel()
        self.largest_difference = max(self.largest_difference, float((here - there).abs().max()))
        self.correct_here += int((ours == labels).sum())
        self.correct_there += int((theirs == labels).sum())

    def record(self) -> dict[str, Any]:
        """The counts as they are written down.

        Returns:
            samples, differing_decisions, votes (samples x steps x classes), differing_votes, largest_difference of two
            votes, accuracy (the network's) and exported_accuracy.
        """
        return {
            "samples": self.samples,
            "differing_decisions": self.differing_decisions,
            "votes": self.votes,
            "differing_votes": self.differing_votes,
            "largest_difference": self.largest_difference,
            "accuracy": self.correct_here / self.samples,
            "exported_accuracy": self.correct_there / self.samples,
        }


def in_time(votes: Tensor, steps: int) -> Tensor:
    """Votes of the twin on an image, [1, B, classes], as those of every step; others as they are."""
    return votes.expand(steps, *votes.shape[1:]) if len(votes) == 1 else votes


def nearest_votes(votes: Tensor, voters: int) -> Tensor:
    """Votes rounded to multiples of 1 / voters, as a network divides them: a sum of so many products is not exact."""
    return torch.round(votes * voters) / voters
