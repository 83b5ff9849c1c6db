"""The neuron as a module: constants and a rule, handed to the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from bpsta_cli import kernels, rules
from bpsta_cli.kernels import dispatch


class SpikeActivity(NamedTuple):
    """What a layer of neurons did in one call.

    Attributes:
        spike_count: how many spikes there were, a number in a tensor.
        neuron_steps: how many there could have been: neurons x time steps x samples.
        current: the input currents, or a tensor that is finite if and only if they are.
    """

    spike_count: Tensor
    neuron_steps: int
    current: Tensor


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons with hard reset; `bpsta_cli.kernels.lif` has the equations.

    No parameters, and no state between calls: every call starts from a potential of 0.

    Attributes:
        active: whether the neurons take part; False lets the input through, as the ReLU twin needs.
        silent: what do/du is where a neuron hardly fires; None: the rule's there too.
        spike_cost: what each spike adds to the loss.
        observers: each is called with the `SpikeActivity` of every call while the neurons are active.

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
        if backend != "auto":  # "auto" works for every input; its kernel is chosen when an input comes
            dispatch.choose(backend, rule=self.rule)
        self.threshold, self.decay, self.backend = threshold, decay, backend
        self.active = True
        self.silent: rules.SilentGradient | None = None
        self.spike_cost = 0.0
        self.observers: list[Callable[[SpikeActivity], None]] = []

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] from input currents [T, ...]; the currents themselves when not active.

        Raises:
            StructureError: an input without steps or of an integer or complex dtype.
        """
        if not self.active:
            return x
        spikes = kernels.lif(
            x,
            threshold=self.threshold,
            decay=self.decay,
            rule=self.rule,
            silent=self.silent,
            spike_cost=self.spike_cost,
            backend=self.backend,
        )
        if self.observers:
            self.notify(SpikeActivity(spikes.detach().count_nonzero(), spikes.numel(), x.detach()))
        return spikes

    @property
    def passes_error_at_spikes_alone(self) -> bool:
        """Whether dL/do comes to nothing where the neurons did not fire, so that it need not be known there."""
        return self.active and self.silent is None and rules.zero_gradient_without_spike(self.rule)

    def notify(self, activity: SpikeActivity) -> None:
        """Call every observer with what the neurons did."""
        for observer in self.observers:
            observer(activity)

    def extra_repr(self) -> str:
        """Every constant, so that a printed network says how its neurons work."""
        return f"{self.rule}, threshold={self.threshold}, decay={self.decay}, backend={self.backend!r}"
