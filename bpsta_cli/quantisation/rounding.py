"""Rounding to few bits with a gradient straight through (fake quantisation), by torch's own operators.

`torch.fake_quantize_per_tensor_affine` and its per-channel sibling are what `torch.ao.quantization.FakeQuantize`
computes with; the tests compare with that. Of torch.ao itself nothing is used: PyTorch has announced its removal, and
its `HistogramObserver` looks for the best range of 256 levels whatever the number of bits.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.func import functional_call

from bpsta_cli.network.layers import Conv, Linear

CANDIDATES = 100
"""Ranges that `best_step` tries: whole hundredths of the largest value."""


class Quantiser(nn.Module):
    """Values of at least 0, rounded to 2^bits levels: q(x) = step * min(round(x / step), 2^bits - 1).

    Rounds half to even. 0 is a level, so that a silent neuron stays silent. In the backward pass dq/dx is 1 from 0 to
    the highest level and 0 beyond it (the straight-through estimator, Bengio et al. 2013, arXiv:1308.3432).

    Attributes:
        bits: of the result.
        step: from one level to the next; None: not calibrated, values pass as they are.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.step: float | None = None

    @property
    def highest(self) -> int:
        """The highest level in steps."""
        return int(2**self.bits - 1)

    def forward(self, x: Tensor) -> Tensor:
        """`x` of any shape, rounded."""
        if self.step is None:
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.step, 0, 0, self.highest)

    def extra_repr(self) -> str:
        """Its constants, for printing."""
        return f"bits={self.bits}, step={self.step}"


class QuantisedSynapses(nn.Module):
    """A convolution or linear layer computed with rounded weights; training changes the weights that are rounded.

    The weights w of each output channel become whole multiples, from -(2^(bits-1) - 1) to 2^(bits-1) - 1, of
    max|w| / (2^(bits-1) - 1): symmetric, so that 0 stays 0, with a step for each channel, as integer hardware scales
    each sum once anyway. The bias is added to sums of 32 bits and is not rounded (Jacob et al. 2018, arXiv:1712.05877).

    Args:
        layer: with the weights.
        bits: of a weight, at least 2.
    """

    def __init__(self, layer: Conv | Linear, bits: int) -> None:
        super().__init__()
        self.layer, self.bits = layer, bits

    def forward(self, x: Tensor) -> Tensor:
        """What the layer gives with rounded weights."""
        output: Tensor = functional_call(self.layer, {"weight": self.weight()}, (x,))
        return output

    def weight(self) -> Tensor:
        """The rounded weights, in the shape of the layer's."""
        weight, highest = self.layer.weight, 2 ** (self.bits - 1) - 1
        step = weight.detach().abs().flatten(1).amax(1) / highest
        step = torch.where(step > 0, step, 1.0)  # a channel of zeros has no range
        zero = torch.zeros_like(step, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -highest, highest)

    def extra_repr(self) -> str:
        """Its constant, for printing."""
        return f"bits={self.bits}"


def best_step(counts: npt.NDArray[np.int64], largest: float, highest: int) -> float:
    """The step of a `Quantiser` that leaves the smallest squared error: clipping and rounding together.

    The search over ranges of Nagel et al. 2021 (arXiv:2106.08295, Section 3.1, "MSE"), over a histogram. Sums are
    exactly rounded, so that every machine chooses the same step.

    Args:
        counts: how many values lie in each of the equal bins from 0 to `largest`; values of 0, which are no error,
            need not be among them.
        largest: the largest value; 0 where all are.
        highest: the highest level in steps.
    """
    if largest <= 0:
        return 1.0
    middles = (np.arange(len(counts)) + 0.5) * (largest / len(counts))
    steps = [largest * part / CANDIDATES / highest for part in range(1, CANDIDATES + 1)]

    def squared_error(step: float) -> float:
        rounded = np.minimum(np.rint(middles / step), highest) * step
        return math.fsum(counts * (middles - rounded) ** 2)

    return min(steps, key=squared_error)
