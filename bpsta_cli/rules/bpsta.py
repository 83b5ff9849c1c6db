"""The paper's rules: backpropagation adjusted in space, and in space and time (Shen et al. 2022, Eq. 9 and 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bpsta_cli.rules.registry import register
from bpsta_cli.rules.rule import Rule
from bpsta_cli.rules.settings import setting

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class BPSA(Rule):
    """Backpropagation adjusted in space (Shen et al. 2022, Eq. 9): do/du = o/u and dv/du = 1 - o.

    Only a neuron that fired passes error to its input of the same step, and none passes a spike in time.
    """

    name: ClassVar[str] = "bpsa"

    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:
        """o/u (Eq. 9): 1/u where the neuron fired, exactly 0 elsewhere, u = 0 included."""
        # Where o is 1, u >= threshold and the clamp changes nothing; where o is 0 it keeps 0/0 out.
        return u.clamp(min=threshold).reciprocal_().mul_(o)


@register
@dataclass(frozen=True)
class BPSTA(BPSA):
    """Backpropagation adjusted in space and time (Shen et al. 2022, Eq. 9 and 10).

    do/du = o/u and dv/du = (1 - o) + alpha o/u: error crosses a spike in time, weighted by `alpha`.
    """

    name: ClassVar[str] = "bpsta"
    alpha: float = setting(
        0.2, "weight of the error that crosses a spike in time (Eq. 10); 0.2 is the paper's, 0 gives bpsa", ge=0
    )

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:  # noqa: ARG002
        """(1 - o) + alpha o/u (Eq. 10)."""
        return (1 - o).add_(spike_gradient * self.alpha)


def zero_gradient_without_spike(rule: Rule) -> bool:
    """Whether do/du is surely 0 where o = 0, so that dL/do need not be known there: `bpsa` and `bpsta` themselves."""
    return type(rule) in (BPSA, BPSTA)  # a subclass may do anything
