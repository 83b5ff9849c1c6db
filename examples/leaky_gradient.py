"""A rule of your own, in one file: `bpsa` with a leak, so that silent neurons learn as well.

Eq. 9 of the paper gives a neuron that did not fire no gradient of its own; only what it hands on in time can
move it. Here it gets a small constant one (a leaky ReLU next to a ReLU):

    do/du = 1/u  if it fired,  else leak
    dv/du = 1 - o                           (inherited: the reset counts as a constant mask)

Use it by its path, `--method examples/leaky_gradient.py --rule-option leak=0.2`, wherever a rule's name is asked
for.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bpsta_cli import rules

if TYPE_CHECKING:
    from torch import Tensor


@rules.register
@dataclass(frozen=True)
class LeakyGradient(rules.Rule):
    """BPSA with a leak: do/du = 1/u where the neuron fired, `leak` where it did not."""

    name: ClassVar[str] = "leaky-gradient"
    leak: float = rules.setting(0.1, "do/du where the neuron did not fire, in spikes per unit of potential", ge=0)

    def spike_gradient(self, u: "Tensor", o: "Tensor", threshold: float) -> "Tensor":
        # The clamp keeps 1/u away from u = 0, where the first term is 0 in any case.
        return o / u.clamp(min=threshold) + self.leak * (1 - o)
