"""Which epochs train the ReLU twin, and which give silent neurons a gradient: the warm-up, decided by settings alone.

Under Eq. 9 a neuron that does not fire passes no gradient on: firing rates can only fall. Two remedies:

- twin: the first epochs train the ReLU twin, as the authors' published code does.
- sigmoid: a neuron that hardly fires has the derivative of a sigmoid, as in TSSL-BP (Zhang and Li 2020,
  arXiv:2002.10085), which the paper names in the first paragraph of "Results"; `rules.SilentGradient` has the
  equations.
"""

from typing import NamedTuple

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.network import Network
from bpsta_cli.network.neurons import LIF


class Phase(NamedTuple):
    """What an epoch trains.

    Attributes:
        spiking: whether the network spikes; False: its ReLU twin.
        silent: the gradient of neurons that hardly fire; None: the rule's.
    """

    spiking: bool
    silent: rules.SilentGradient | None


SIGMOID = ("sigmoid", "both")
"""The kinds of warm-up with the silent gradient."""


def kind_of(settings: RunSettings) -> str:
    """The setting warmup, with "auto" resolved: "both" where the rule gives silent neurons no gradient, else "twin"."""
    if settings.training.warmup != "auto":
        return settings.training.warmup
    rule = settings.make_rule()
    return "both" if rule is not None and rules.zero_gradient_without_spike(rule) else "twin"


def phase_of(settings: RunSettings, epoch: int) -> Phase:
    """What epoch number `epoch`, from 0, trains; the method "ann" is the twin throughout."""
    if settings.method == rules.TWIN or epoch < _twin_epochs(settings):
        return Phase(spiking=False, silent=None)
    training, since = settings.training, epoch - _twin_epochs(settings)
    if kind_of(settings) not in SIGMOID:
        return Phase(spiking=True, silent=None)
    over = training.silent_gradient != "all" and since >= training.silent_gradient
    silent = None if over else rules.SilentGradient(training.silent_tau, training.silent_width)
    return Phase(spiking=True, silent=silent)


def begins_to_spike(settings: RunSettings, epoch: int) -> bool:
    """Whether this is the first epoch in which the network spikes."""
    return settings.method != rules.TWIN and epoch == _twin_epochs(settings)


def enter(network: Network, phase: Phase) -> None:
    """Make `network` what the phase trains."""
    network.spiking = phase.spiking
    for layer in network.modules():
        if isinstance(layer, LIF):
            layer.silent = phase.silent


def remedy(settings: RunSettings, phase: Phase) -> str:
    """What to change where a layer of neurons falls silent."""
    if phase.silent is not None:
        return "Try a lower threshold, a lower learning rate or a smaller spike_penalty."
    if kind_of(settings) in SIGMOID:
        return "Give --silent-gradient all, or more epochs, so that silent neurons keep a gradient."
    return "Give --warmup both, so that silent neurons have a gradient."


def _twin_epochs(settings: RunSettings) -> int:
    return settings.data.warmup_epochs if kind_of(settings) in ("twin", "both") else 0
