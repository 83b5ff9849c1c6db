"""The neuron as a module: constants and a rule, handed to the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from bpsta_cli import kernels, rules
from bpsta_cli.kernels import dispatch


class Firing(NamedTuple):
    """What a layer of neurons did in one call.

    Attributes:
        spikes: how many, a number in a tensor.
        slots: neurons x time steps x samples.
        current: the input, or what is finite if and only if the input is.
    """

    spikes: Tensor
    slots: int
    current: Tensor


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons with hard reset; `bpsta_cli.kernels.lif` has the equations.

    No parameters, and no state between calls: every call starts from a potential of 0.

    Attributes:
        active: whether the neurons take part; False lets the input through, as the ReLU twin needs.
        watchers: told the `Firing` of every call while the neurons are active.

    Args:
        rule: a Rule, or a name or file that `bpsta_cli.rules.make` takes, then with that function's defaults.
        threshold: potential at and above which a neuron fires, > 0.
        decay: share of the potential that is left after one step, in [0, 1].
        backend: one of `dispatch.BACKENDS`.

    Raises:
        SettingsError: an unusable constant, rule or backend.
    """

    def __init__(
        self,
        rule: rules.Rule | str = "bpsta",
        threshold: float = 0.5,
        decay: float = 0.9,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        kernels.check_constants(threshold, decay)
        self.rule = rules.make(rule)
        if backend != "auto":  # which serves any input, and is chosen when one comes
            dispatch.choose(backend, rule=self.rule)
        self.threshold, self.decay, self.backend = threshold, decay, backend
        self.active = True
        self.watchers: list[Callable[[Firing], None]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] from input currents [T, ...]; the currents themselves when not active.

        Raises:
            StructureError: an input without steps or of an integer or complex dtype.
        """
        if not self.active:
            return x
        spikes = kernels.lif(x, threshold=self.threshold, decay=self.decay, rule=self.rule, backend=self.backend)
        if self.watchers:
            self.tell(Firing(spikes.detach().count_nonzero(), spikes.numel(), x.detach()))
        return spikes

    def tell(self, firing: Firing) -> None:
        """Tell the watchers what the neurons did."""
        for watcher in self.watchers:
            watcher(firing)

    def extra_repr(self) -> str:
        """Every constant, so that a printed network says how its neurons work."""
        return f"{self.rule}, threshold={self.threshold}, decay={self.decay}, backend={self.backend!r}"
