"""Dropout of neurons, and where its random numbers come from."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.random_numbers import Stream


class NeuronDropout(nn.Module):
    """Dropout of neurons: one mask per sample, kept for all T steps, as the paper's code does.

    Attributes:
        stream: gives the mask of each of `samples`, whatever batch they are in; None: torch's generator gives it.
        samples: the numbers of the batch's samples, in their order.

    Args:
        p: probability that a neuron is silenced; the others are scaled by 1 / (1 - p).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.stream: Stream | None = None
        self.samples: Sequence[int] = ()

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ...] -> the same shape."""
        if not self.training or self.p == 0:
            return x
        if self.stream is None:
            return x * F.dropout(torch.ones_like(x[0]), self.p)
        kept = kept_neurons(self.stream, self.samples, x[0, 0].numel(), self.p)
        mask = torch.empty_like(x[0]).copy_(torch.from_numpy(kept).view(x.shape[1:]))
        return x * mask.mul_(1 / (1 - self.p))

    def extra_repr(self) -> str:
        """Its constant, for printing."""
        return f"p={self.p}"


def kept_neurons(stream: Stream, samples: Sequence[int], neurons: int, p: float) -> npt.NDArray[np.bool_]:
    """Which neurons are not silenced, [samples, neurons].

    A neuron is silenced where its 32 random bits, read as a fraction, are below `p`.

    Args:
        stream: of random words; a sample's are those at its number.
        samples: their numbers.
        neurons: in a sample.
        p: probability that one is silenced.
    """
    limit = round(p * 2**32)
    words = np.stack([stream.words((neurons + 1) // 2, sample) for sample in samples])
    return words.astype("<u8", copy=False).view("<u4")[:, :neurons] >= limit
