"""The picture of `bpsta energy`: firing rates by layer (the paper's Figure 2) and by time step, a line a rule."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli.reporting.drawing import band, new_figure, save, styles
from bpsta_cli.reporting.energy import EnergyResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 10
"""So many layers are named below a panel; of more, every second, third and so on."""


def write_rates(runs: list[EnergyResult], path: Path) -> None:
    """Draw the firing rates of `runs` into `path`, .png or .svg.

    A row of panels for each data set, network and T; a line a rule, its band from the lowest to the highest run.

    Args:
        runs: what `bpsta energy --json` gives of each; runs without neurons are left out.
        path: the picture.
    """
    from matplotlib.ticker import MaxNLocator

    groups: dict[tuple[str, str, int], list[EnergyResult]] = {}
    for run in runs:
        if run["firing_rates_at"]:
            groups.setdefault((run["dataset"], run["network"], run["T"]), []).append(run)
    with new_figure(10, 3.6 * len(groups)) as figure:
        panels = figure.subplots(len(groups), 2, squeeze=False)
        for (by_layer, by_step), ((dataset, network, T), same) in zip(panels, groups.items(), strict=True):
            _lines(by_layer, same, lambda run: dict(enumerate(run["firing_rates"].values())))
            _name_layers(by_layer, list(same[0]["firing_rates"]))
            _lines(by_step, same, _at_steps)
            by_step.xaxis.set_major_locator(MaxNLocator(integer=True))
            by_step.set_xlabel("time step t")
            by_layer.set_title(f"{dataset}, {network}", loc="left", fontsize=9)
            by_step.set_title(f"all neurons, T = {T}", loc="left", fontsize=9)
        save(figure, path)


def _at_steps(run: EnergyResult) -> dict[int, float]:
    """The firing rate of all neurons at each step: the mean of the layers' rates, weighted by their neurons."""
    neurons = run["neurons"]
    total = sum(neurons.values())
    rates = run["firing_rates_at"]
    return {t + 1: sum(rates[name][t] * neurons[name] for name in rates) / total for t in range(run["T"])}


def _lines(axes: "Axes", runs: list[EnergyResult], rates_of: Callable[[EnergyResult], dict[int, float]]) -> None:
    """A line for each method through the values that `rates_of` gives for its runs."""
    chosen = styles(run["method"] for run in runs)
    for method, style in chosen.items():
        columns = [pd.Series(rates_of(run)) for run in runs if run["method"] == method]
        band(axes, pd.concat(columns, axis=1), method, style)
    for line in axes.get_lines():
        line.set_marker("o")
        line.set_markersize(3.5)
    axes.set_ylabel("firing rate, spikes a neuron and step")
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, linewidth=0.4, alpha=0.6)
    axes.legend(frameon=False)


def _name_layers(axes: "Axes", names: list[str]) -> None:
    every = math.ceil(len(names) / MOST_NAMES)
    places = range(0, len(names), every)
    axes.set_xticks(list(places), [names[place] for place in places], rotation=45 if every > 1 else 0)
    axes.set_xlabel("layer of neurons")
