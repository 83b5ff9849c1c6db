"""The gradient of a neuron that hardly fires: what leads a silent neuron back, whatever the rule. Loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from bpsta_cli.errors import SettingsError


@dataclass(frozen=True)
class SilentGradient:
    """do/du where a neuron has hardly fired, instead of the rule's (Zhang and Li 2020, arXiv:2002.10085).

    Under Eq. 9 a neuron that does not fire gets no gradient: it can be told to fire less, and never to fire again.
    Every neuron has a synaptic trace

        s[t] = s[t-1] + (o[t] - s[t-1]) / tau          (s[-1] = 0)

    and where s[t] < 1 / (4 tau), that is where the neuron has hardly fired of late, do[t]/du[t] is the derivative of a
    sigmoid, S (1 - S) / width with S = 1 / (1 + exp(-(u[t] - threshold) / width)). dv[t]/du[t] stays the rule's, made
    from the rule's own do/du. A neuron that fires at t has s[t] >= 1 / tau: where there is a spike the rule holds.

    The trace, its limit and the curve are those of the article's public code (functions/tsslbp.py), where they replace
    the whole of dL/du of a silent neuron; here the path through the potential of the next step stays.

    Attributes:
        tau: time constant of the trace, in time steps, >= 1; 1 forgets at once.
        width: of the sigmoid, in units of the potential, > 0.
    """

    tau: float = 3.0
    width: float = 0.2

    def __post_init__(self) -> None:
        """Refuse what is out of its limits.

        Raises:
            SettingsError: a tau below 1, a width that is not above 0, or one of them not finite.
        """
        for name, value, least in (("tau", self.tau, ">= 1"), ("width", self.width, "> 0")):
            if not (value >= 1 if name == "tau" else value > 0) or value == float("inf"):
                raise SettingsError(
                    f"unusable {name} of the silent gradient",
                    expected=f"a finite number {least}",
                    got=repr(value),
                    todo="tau 3 and width 0.2 are the published ones.",
                )

    @property
    def limit(self) -> float:
        """The trace below which a neuron is silent, 1 / (4 tau)."""
        return 1 / (4 * self.tau)
