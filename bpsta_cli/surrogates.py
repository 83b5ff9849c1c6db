"""Surrogates: smooth stand-ins for the derivative of the spike's step function. Loads no torch.

Source: Wu, Deng, Li, Zhu and Shi, Frontiers in Neuroscience 12:331, 2018, doi:10.3389/fnins.2018.00331.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bpsta_cli.portable_math import exp

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Surrogate(ABC):
    """A smooth stand-in for the step function's derivative, a function of x = u - threshold.

    Args:
        width: the `a` of Wu et al. 2018, Eq. 24-27, > 0; its unit differs by curve, see each.
    """

    width: float

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """h(x); integrates to 1 over all x."""

    @abstractmethod
    def primitive(self, x: Tensor) -> Tensor:
        """H(x), the integral of h from minus infinity to x: the smooth step that h belongs to."""


class Rectangular(Surrogate):
    """h1(x) = 1/a if |x| < a/2 else 0 (Wu et al. 2018, Eq. 24). `a`: full width, in units of potential."""

    def derivative(self, x: Tensor) -> Tensor:
        """h1(x)."""
        return x.abs().lt_(self.width / 2).div_(self.width)

    def primitive(self, x: Tensor) -> Tensor:
        """H1(x) = x/a + 1/2, held to [0, 1]."""
        return (x / self.width + 0.5).clamp(0, 1)


class Polynomial(Surrogate):
    """h2(x) = sqrt(a)/2 - |x| a/4 if |x| < 2/sqrt(a) else 0 (Wu et al. 2018, Eq. 25).

    `a`: 4 over the squared half width, so a larger `a` is narrower. The paper writes the
    condition as a factor sign(2/sqrt(a) - |x|), read here as 1 or 0, as in its Eq. 24.
    """

    def derivative(self, x: Tensor) -> Tensor:
        """h2(x)."""
        return (math.sqrt(self.width) / 2 - x.abs() * (self.width / 4)).clamp(min=0)

    def primitive(self, x: Tensor) -> Tensor:
        """H2(x) = 1/2 + x sqrt(a)/2 - x |x| a/8, with x held to |x| <= 2/sqrt(a)."""
        edge = 2 / math.sqrt(self.width)
        x = x.clamp(-edge, edge)
        return 0.5 + x * (math.sqrt(self.width) / 2) - x * x.abs() * (self.width / 8)


class Sigmoid(Surrogate):
    """h3(x) = exp(-x/a) / (a (1 + exp(-x/a))^2) (Wu et al. 2018, Eq. 26). `a`: in units of potential."""

    def derivative(self, x: Tensor) -> Tensor:
        """h3(x), as s (1 - s) / a with s the logistic function of x/a, which cannot overflow."""
        s = 1 / (1 + _exponential(-(x / self.width)))
        return s * (1 - s) / self.width

    def primitive(self, x: Tensor) -> Tensor:
        """H3(x) = 1 / (1 + exp(-x/a))."""
        return (x / self.width).sigmoid()


class Gaussian(Surrogate):
    """h4(x) = exp(-x^2 / (2a)) / sqrt(2 pi a) (Wu et al. 2018, Eq. 27). `a`: variance, potential squared."""

    def derivative(self, x: Tensor) -> Tensor:
        """h4(x)."""
        return _exponential(x * x / (-2 * self.width)) / math.sqrt(2 * math.pi * self.width)

    def primitive(self, x: Tensor) -> Tensor:
        """H4(x) = (1 + erf(x / sqrt(2a))) / 2."""
        return ((x / math.sqrt(2 * self.width)).erf() + 1) / 2


def _exponential(x: Tensor) -> Tensor:
    """e^x; on the CPU with the same bits on every machine, unless autograd is to go through it."""
    if x.device.type != "cpu" or x.requires_grad:
        return x.exp()
    return x.new_tensor(exp(x.double().numpy()))


SURROGATES: Mapping[str, type[Surrogate]] = {
    curve.__name__.lower(): curve for curve in (Rectangular, Polynomial, Sigmoid, Gaussian)
}
