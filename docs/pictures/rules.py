"""Draw docs/pictures/rules.png: what each rule sends back through a spike. Run: python docs/pictures/rules.py

All curves are gradients that `bpsta_cli.lif` gives; none is drawn from a formula.
"""

from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

import bpsta_cli as bpsta
from bpsta_cli.reporting.drawing import METADATA, RC_PARAMS, STYLES
from bpsta_cli.rules import SilentGradient

THRESHOLD, DECAY = 0.5, 0.9
PICTURE = Path(__file__).with_suffix(".png")
CURRENT = (0.3, 0.4, 0.1, 0.7)
"""Inputs of one neuron, one a step: u is 0.3, 0.67, 0.1 and 0.79, so that it fires at t = 1 and t = 3."""


def spike_gradient(u: Tensor, rule: str, silent: SilentGradient | None = None) -> Tensor:
    """do/du at each potential of `u` [N]: the gradient of one step's spike with respect to its input."""
    x = u[None].clone().requires_grad_()
    bpsta.lif(x, threshold=THRESHOLD, decay=DECAY, rule=rule, silent=silent).sum().backward()
    return x.grad[0]


def spikes_and_error(rule: str) -> tuple[Tensor, Tensor]:
    """Spikes [T], and dL/du [T] of L = o[T-1]: how the error of the last spike goes back in time."""
    x = torch.tensor(CURRENT, dtype=torch.float64)[:, None].requires_grad_()
    o = bpsta.lif(x, threshold=THRESHOLD, decay=DECAY, rule=rule)
    o[-1].sum().backward()
    return o.detach()[:, 0], x.grad[:, 0]


def draw(file: Path) -> None:
    """Write the picture."""
    with matplotlib.rc_context(RC_PARAMS):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        space, time = figure.subplots(1, 2)
        draw_space(space)
        draw_time(time)
        figure.savefig(file, dpi=120, metadata=METADATA["png"])


def draw_space(axes: Any) -> None:
    """do/du over the potential, for each rule and for a neuron that hardly fires."""
    u = torch.linspace(-0.5, 2, 1001, dtype=torch.float64)
    for rule, label in (("stbp", "stbp: rectangle of width 1"), ("bpsa", "bpsa and bpsta: o / u")):
        colour, dashes = STYLES[rule]
        axes.plot(u, spike_gradient(u, rule), color=colour, linestyle=dashes, label=label)
    below = u[u < THRESHOLD]
    silent = spike_gradient(below, "bpsa", SilentGradient())
    axes.plot(below, silent, color="#009E73", linestyle=":", label="silent gradient, neuron hardly fires")
    axes.axvline(THRESHOLD, color="#999999", linewidth=0.8)
    axes.set(
        xlabel="membrane potential u[t] before the spike", ylabel="do/du", title="In space: one step", ylim=(-0.1, 2.8)
    )
    axes.legend(frameon=False, fontsize=8)


def draw_time(axes: Any) -> None:
    """How the error of the spike at t = 3 goes back over the spike at t = 1."""
    for place, rule in enumerate(("stbp", "bpsa", "bpsta")):
        o, error = spikes_and_error(rule)
        steps = torch.arange(len(CURRENT)) + 0.22 * (place - 1)
        axes.bar(steps, error, width=0.2, color=STYLES[rule][0], label=rule)
    for t in range(len(CURRENT)):
        axes.text(t, -0.62, "spike" if o[t] else "no spike", ha="center", fontsize=8)
    axes.axhline(0, color="#999999", linewidth=0.8)
    axes.set(
        xticks=range(len(CURRENT)), ylim=(-0.7, 1.5), xlabel="time step t", ylabel="dL/du[t]", title="In time: L = o[3]"
    )
    axes.legend(frameon=False, fontsize=8)


if __name__ == "__main__":
    draw(PICTURE)
