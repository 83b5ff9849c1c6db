"""What a learning rule is: two partial derivatives, and settings of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bpsta_cli.rules.settings import settings_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rule(ABC):
    """What a spike passes back. Subclass, name, `register`; see docs/own-rule.md.

    A rule is a dataclass, and its fields are its settings (`setting`), checked when it is made.

    The tensors of one step arrive in the dtype of the state (float64 for float64 inputs, else float32), all
    of one shape; they belong to the caller and must not be written to.
    """

    name: ClassVar[str]

    def __post_init__(self) -> None:
        """Refuse a setting out of its limits.

        Raises:
            SettingsError: there is one.
        """
        for each in settings_of(type(self)):
            each.check(getattr(self, each.name))

    @abstractmethod
    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:
        """do[t]/du[t] (spikes per unit of potential), in the shape of `u`.

        Args:
            u: membrane potential before the spike.
            o: spike, 0 or 1.
            threshold: potential at and above which the neuron fires, > 0.
        """

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:  # noqa: ARG002
        """dv[t]/du[t] (no unit), in the shape of `u`; here 1 - o[t]: the reset counts as a constant mask.

        Args:
            u: membrane potential before the spike.
            o: spike, 0 or 1.
            spike_gradient: do[t]/du[t], what this rule's `spike_gradient` gave for this step.
        """
        return 1 - o
