"""The tables and figures beyond the paper's: every run, whatever its data set and T."""

import dataclasses
from pathlib import Path

from bpsta_cli.reporting.artifacts import Figure, Table
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.comparison import against_baseline, learning, without_twin
from bpsta_cli.reporting.curves import OVER_TIME, over_time
from bpsta_cli.reporting.drawing import draw_panels
from bpsta_cli.reporting.tables import accuracy, energy, latency, methods
from bpsta_cli.reporting.time_steps import early_exit


def tables(runs: list[RunResults]) -> list[Table]:
    """The tables that the runs can fill."""
    runs = by_recipe(runs)
    found = [methods(runs), accuracy(runs)]
    comparison = against_baseline(runs)
    if not comparison.frame.empty:
        found.append(comparison)
    if spiking := without_twin(runs):
        found.append(learning(spiking))
    if priced := [run for run in runs if run.energy]:
        found.append(energy(priced, runs))
    followed = [run for run in runs if run.latency]
    if followed:
        found.append(latency(followed))
    if stopped := [run for run in followed if (run.latency.get("early_exit") or {}).get("chosen")]:
        found.append(early_exit(stopped))
    return found


def draw_figures(runs: list[RunResults], folder: Path) -> list[Figure]:
    """Draw what the runs can fill into `folder`."""
    followed = [run for run in by_recipe(runs) if run.latency]
    if not followed:
        return []
    return [
        Figure(
            "accuracy-over-time",
            "Test accuracy over time steps",
            "Test accuracy of the votes after the first t steps of one pass through networks trained with T steps: "
            "mean over seeds; the band reaches from the worst to the best seed.",
            "Lines of test accuracy over time steps, one for each learning rule; its table holds the values.",
            tuple(draw_panels(followed, folder / "accuracy-over-time", over_time, OVER_TIME)),
        )
    ]


def by_recipe(runs: list[RunResults]) -> list[RunResults]:
    """The runs, with the recipe in the data set's name where it has another: two recipes are not averaged."""
    return [dataclasses.replace(run, train=run.train | {"dataset": _named(run)}) for run in runs]


def _named(run: RunResults) -> str:
    dataset: str = run.train["dataset"]
    return dataset if run.recipe == dataset else f"{dataset} ({run.recipe})"
