"""The baseline: spatio-temporal backpropagation with a surrogate (Wu et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from bpsta_cli.rules.registry import register
from bpsta_cli.rules.rule import Rule
from bpsta_cli.rules.settings import setting
from bpsta_cli.surrogates import SURROGATES

if TYPE_CHECKING:
    from torch import Tensor


@register
@dataclass(frozen=True)
class STBP(Rule):
    """Spatio-temporal backpropagation, the baseline (Wu et al. 2018).

    do/du = h(u - threshold), one of the four curves of Eq. 24-27, and dv/du = (1 - o) - u h(u - threshold),
    the derivative of v = u (1 - o) with do/du = h; with `detach_reset` the second term is left out.
    """

    name: ClassVar[str] = "stbp"
    surrogate: str = setting(
        "rectangular", "the curve that stands for the spike's derivative", choices=tuple(SURROGATES)
    )
    surrogate_width: float = setting(1.0, "width of that curve; 1.0 is the published baseline's", gt=0)
    detach_reset: bool = setting(False, "leave the reset out of the gradient")

    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:  # noqa: ARG002
        """h(u - threshold)."""
        return SURROGATES[self.surrogate](self.surrogate_width).derivative(u - threshold)

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:
        """(1 - o) - u h(u - threshold); with `detach_reset`, 1 - o."""
        return 1 - o if self.detach_reset else (1 - o).sub_(u * spike_gradient)
