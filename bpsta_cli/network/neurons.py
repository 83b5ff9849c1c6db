"""The neuron as a module: constants and a rule, handed to the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from bpsta_cli import kernels, rules
from bpsta_cli.errors import SettingsError, StructureError
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.single_step import State


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


STEP_MODES = ("m", "s")
"""What a call of `LIF` is: all time steps, or one."""
AXES = 3
"""Fewest axes of an input of all time steps: time, batch, neurons."""


class LIF(nn.Module):
    """Leaky integrate-and-fire neurons with hard reset; `bpsta_cli.kernels.lif` has the equations.

    No parameters. Its input is all time steps, [T, B, ...] with time first, and no call leaves anything behind: every
    one starts from a potential of 0. With `step_mode` "s" it is one time step, [B, ...]; the potential is then kept for
    the next call until `reset()`, and gradients go back through all steps since. Spikes and gradients are the same
    either way; one step at a time runs on the reference kernel, and is slower.

    Attributes:
        active: whether the neurons take part; False lets the input through, as the ReLU twin needs.
        silent: what do/du is where a neuron hardly fires; None: the rule's there too.
        spike_cost: what each spike adds to the loss.
        observers: each is called with the `SpikeActivity` of every call while the neurons are active.
        state: what is kept from the step before under `step_mode` "s"; None before the first.

    Args:
        rule: a Rule, or a name or file that `bpsta_cli.rules.make` takes.
        threshold: potential at and above which a neuron fires, > 0.
        decay: share of the potential that is left after one step, in [0, 1].
        backend: one of `dispatch.BACKENDS`.
        step_mode: "m", all time steps in a call, or "s", one; as in SpikingJelly, whose `functional.reset_net` and
            `functional.set_step_mode` reach this layer too.
        rule_settings: settings of a rule given by name, such as alpha=0.2.

    Raises:
        SettingsError: an unusable constant, rule, setting of the rule, backend or step mode.
    """

    def __init__(
        self,
        rule: rules.Rule | str = "bpsta",
        threshold: float = 0.5,
        decay: float = 0.9,
        backend: str = "auto",
        step_mode: str = "m",
        **rule_settings: rules.Value,
    ) -> None:
        super().__init__()
        kernels.check_constants(threshold, decay)
        self.rule = rules.make(rule, **rule_settings)
        if backend != "auto":  # "auto" works for every input; its kernel is chosen when an input comes
            dispatch.choose(backend, rule=self.rule)
        self.threshold, self.decay, self.backend = threshold, decay, backend
        self.active = True
        self.silent: rules.SilentGradient | None = None
        self.spike_cost = 0.0
        self.observers: list[Callable[[SpikeActivity], None]] = []
        self.state: State | None = None
        self.step_mode = step_mode

    @property
    def step_mode(self) -> str:
        """What a call is, one of `STEP_MODES`.

        Raises:
            SettingsError: set to anything else.
        """
        return self._step_mode

    @step_mode.setter
    def step_mode(self, value: str) -> None:
        if value not in STEP_MODES:
            raise SettingsError(
                "unknown step mode",
                expected='"m" (all time steps in a call, [T, B, ...]) or "s" (one, [B, ...])',
                got=repr(value),
                todo='"m" is the default.',
            )
        self._step_mode = value
        self.reset()

    def reset(self) -> None:
        """Forget the potential: the next step is the first one of another batch."""
        self.state = None

    def detach(self) -> None:
        """Keep the potential, and let no gradient go back beyond this step (truncated backpropagation in time)."""
        if self.state is not None:
            self.state = State(self.state.v.detach(), self.state.trace)

    def forward(self, x: Tensor) -> Tensor:
        """Spikes in the shape of the input currents `x`, [T, B, ...] or one step; the currents when not active.

        Raises:
            StructureError: an input without time and batch, of an integer or complex dtype, or of another shape than
                the step before.
        """
        if not self.active:
            return x
        spikes = self._one_step(x) if self.step_mode == "s" else self._all_steps(x)
        if self.observers:
            self.notify(SpikeActivity(spikes.detach().count_nonzero(), spikes.numel(), x.detach()))
        return spikes

    def _all_steps(self, x: Tensor) -> Tensor:
        if x.dim() < AXES:
            raise StructureError(
                "neuron input without time or batch",
                expected="[T, B, ...], time first",
                got=f"shape {list(x.shape)}",
                todo='For one step of a batch give x.unsqueeze(0), or loop over time with LIF(..., step_mode="s"); '
                "for all steps of one sample give x.unsqueeze(1).",
            )
        return kernels.lif(
            x,
            threshold=self.threshold,
            decay=self.decay,
            rule=self.rule,
            silent=self.silent,
            spike_cost=self.spike_cost,
            backend=self.backend,
        )

    def _one_step(self, x: Tensor) -> Tensor:
        spikes, self.state = kernels.single_step(
            self.state,
            x,
            threshold=self.threshold,
            decay=self.decay,
            rule=self.rule,
            silent=self.silent,
            spike_cost=self.spike_cost,
        )
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
        mode = "" if self.step_mode == "m" else f", step_mode={self.step_mode!r}"
        return f"{self.rule}, threshold={self.threshold}, decay={self.decay}, backend={self.backend!r}{mode}"
