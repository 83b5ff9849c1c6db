"""The tables and figures beyond the paper's: every run, whatever its data set and T."""

import dataclasses
from pathlib import Path

from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.comparison import against_baseline, learning, without_twin
from bpsta_cli.reporting.curves import OVER_TIME, over_time
from bpsta_cli.reporting.drawing import figure
from bpsta_cli.reporting.parts import Figure, Table
from bpsta_cli.reporting.tables import accuracy, energy, latency


def tables(cells: list[Cell]) -> list[Table]:
    """As far as the cells can fill them."""
    cells = by_recipe(cells)
    found = [accuracy(cells)]
    comparison = against_baseline(cells)
    if not comparison.frame.empty:
        found.append(comparison)
    if spiking := without_twin(cells):
        found.append(learning(spiking))
    if priced := [cell for cell in cells if cell.energy]:
        found.append(energy(priced))
    if followed := [cell for cell in cells if cell.latency]:
        found.append(latency(followed))
    return found


def figures(cells: list[Cell], folder: Path) -> list[Figure]:
    """Draw what the cells can fill into `folder`."""
    followed = [cell for cell in by_recipe(cells) if cell.latency]
    if not followed:
        return []
    return [
        Figure(
            "accuracy-over-time",
            "Test accuracy over time steps",
            "Test accuracy of the votes after the first t steps of one pass through networks trained with T steps: "
            "mean over seeds; the band reaches from the worst to the best seed.",
            "Lines of test accuracy over time steps, one for each learning rule; its table holds the figures.",
            tuple(figure(followed, folder / "accuracy-over-time", over_time, OVER_TIME)),
        )
    ]


def by_recipe(cells: list[Cell]) -> list[Cell]:
    """The cells, their data set named with the recipe where that has another name: they are no seeds of others."""
    return [dataclasses.replace(cell, train=cell.train | {"dataset": _named(cell)}) for cell in cells]


def _named(cell: Cell) -> str:
    dataset: str = cell.train["dataset"]
    return dataset if cell.recipe == dataset else f"{dataset} ({cell.recipe})"
