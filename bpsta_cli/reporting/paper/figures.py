"""The paper's Figures 1 to 3: test curves, firing rates by layer, and test curves at each T."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli.reporting.artifacts import Figure
from bpsta_cli.reporting.drawing import MARKERS, Panel, band, draw_sheet, styles
from bpsta_cli.reporting.paper.groups import RULES, Group
from bpsta_cli.reporting.paper.literature import TITLES
from bpsta_cli.reporting.paper.study import Study
from bpsta_cli.reporting.tables import seeds_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_NAMES = 6
"""So many layers are named below a panel; of more, every second, third and so on."""
SEEDS = "The line is the mean over seeds, the band reaches from the worst to the best seed."
CURVES = ("epoch", "test accuracy, %")
TURN = "Left of the dotted line the network is trained as the ReLU twin."


def _curves(study: Study, folder: Path) -> Figure:
    """Figure 1."""
    found = [(dataset, groups) for dataset in study.names() for groups in _by_recipe(study.main(dataset))]
    panels = [
        Panel(_heading(dataset, groups), partial(_draw_curves, groups=groups, scale=_scale(groups)))
        for dataset, groups in found
    ]
    return Figure(
        "figure-1",
        "Figure 1. Test accuracy over epochs",
        f"Test accuracy after each epoch, of the runs of Tables 1 to 3. {SEEDS} {TURN}{_absent(study)}",
        f"Test accuracy over epochs, a line for each method. {_panels(panels)}; Tables 1 to 3 hold the last values.",
        tuple(draw_sheet(panels, folder / "figure-1", CURVES)),
        supplementary=False,
    )


def _rates(study: Study, folder: Path) -> Figure | None:
    """Figure 2."""
    panels = []
    for dataset in study.names():
        for groups in _by_recipe(study.main(dataset)):
            spiking = [group for group in groups if _layers(group)]
            if spiking:
                panels.append(Panel(_heading(dataset, spiking), partial(_draw_rates, groups=spiking)))
    if not panels:
        return None
    return Figure(
        "figure-2",
        "Figure 2. Firing rate by layer",
        "Spikes a neuron and time step over the test samples, layer by layer from the input on, of the runs of Table "
        f"5. {SEEDS}{_absent(study)}",
        f"Firing rate of each layer of neurons, a line for each rule. {_panels(panels)}; Table 5 holds the whole "
        "network's.",
        tuple(draw_sheet(panels, folder / "figure-2", ("layer of neurons", "firing rate"), whole=False)),
        supplementary=False,
    )


def _curves_by_time_steps(study: Study, folder: Path) -> Figure | None:
    """Figure 3: of the data sets that have runs at several T."""
    panels = []
    for dataset in study.names():
        for groups in _by_recipe([group for group in study.groups(dataset) if group.like["method"] in RULES]):
            steps = sorted({group.like["T"] for group in groups})
            if len(steps) < 2:
                continue
            scale = _scale(groups)
            for T in steps:
                same = [group for group in groups if group.like["T"] == T]
                panels.append(Panel(_heading(dataset, same), partial(_draw_curves, groups=same, scale=scale)))
    if not panels:
        return None
    return Figure(
        "figure-3",
        "Figure 3. Test accuracy over epochs, at each T",
        "Networks trained with T steps, a line for each rule; the panels of one data set share their "
        f"scale. {SEEDS} {TURN}{_absent(study)}",
        f"Test accuracy over epochs at each T, a line for each rule. {_panels(panels)}; Table 6 holds the last values.",
        tuple(draw_sheet(panels, folder / "figure-3", CURVES)),
        supplementary=False,
    )


def _draw_curves(axes: "Axes", groups: list[Group], scale: tuple[float, float]) -> None:
    tables = {group.like["method"]: _curve(group) for group in groups}
    chosen = styles(tables)
    for method, table in tables.items():
        alone = _alone(table)  # a line would not show there
        marker = MARKERS.get(method, "o") if alone else None
        band(axes, table, method, chosen[method], counted=False, marker=marker, markevery=alone)
    if turn := _turn(groups[-1]):
        axes.axvline(turn, color="#888888", linewidth=0.8, linestyle=":")
    axes.set_xlim(0.5, max(len(run.history) for group in groups for run in group.runs) + 0.5)
    axes.set_ylim(*scale)


def _turn(group: Group) -> float | None:
    """Between the last epoch as the twin and the first with spikes; None where there are not both."""
    history = group.runs[0].history
    warmup = int((history["phase"] == "twin").sum())
    return warmup + 0.5 if 0 < warmup < len(history) else None


def _curve(group: Group) -> pd.DataFrame:
    """Test accuracy, percent: a row an epoch from 1 on, a column a seed; a gap where the epochs with spikes begin."""
    columns = [run.history.set_index("epoch")["accuracy"].dropna() for run in group.runs]
    table = pd.concat(columns, axis=1) * 100
    table = table.set_axis(table.index + 1)
    turn = _turn(group)
    return table if turn is None else table.reindex(sorted([*table.index, turn]))


def _alone(table: pd.DataFrame) -> list[int]:
    """The rows that have values while those beside them have none."""
    there = [False, *table.notna().any(axis=1), False]
    return [row for row in range(len(table)) if there[row + 1] and not there[row] and not there[row + 2]]


def _scale(groups: list[Group]) -> tuple[float, float]:
    """The scale, from the second half of the curves: their beginning would hide how they differ at the end."""
    tables = [_curve(group) for group in groups]
    worst = min(float(table.iloc[len(table) // 2 :].min().min()) for table in tables)
    best = max(float(table.max().max()) for table in tables)
    room = 0.15 * (best - worst) + 0.5
    return max(0.0, worst - 2 * room), min(100.3, best + room)


def _draw_rates(axes: "Axes", groups: list[Group]) -> None:
    chosen = styles(group.like["method"] for group in groups)
    for group in groups:
        method = group.like["method"]
        columns = [pd.Series(dict(enumerate(rates.values()))) for rates in _layers(group)]
        marker = MARKERS.get(method, "D")
        band(axes, pd.concat(columns, axis=1), method, chosen[method], counted=False, marker=marker, markersize=4.5)
    names = list(_layers(groups[0])[0])
    places = range(0, len(names), math.ceil(len(names) / MOST_NAMES))
    axes.set_xticks(list(places), [names[place] for place in places])
    axes.set_ylim(bottom=0)


def _layers(group: Group) -> list[dict[str, float]]:
    """The firing rates by layer of each run whose energy was counted."""
    return [run.energy["firing_rates"] for run in group.runs if run.energy.get("firing_rates")]


def _by_recipe(groups: list[Group]) -> list[list[Group]]:
    names = dict.fromkeys(group.like["recipe"] for group in groups)
    return [[group for group in groups if group.like["recipe"] == name] for name in names]


def _heading(dataset: str, groups: list[Group]) -> str:
    """Data set, T and seeds; a stand-in is named before the data set that it stands for."""
    last = groups[-1]
    title = TITLES.get(dataset, dataset)
    if last.stand_in:
        title = f"{last.dataset}, a stand-in for {title}"
    if last.like["recipe"] != last.dataset:
        title += f" (recipe {last.like['recipe']})"
    below = f"T = {last.like['T']}, {seeds_in_words(group.seeds for group in groups)}"
    return f"{title}\n{below}" if last.stand_in else f"{title}, {below}"


def _panels(panels: list[Panel]) -> str:
    return "Panels: " + "; ".join(panel.title.replace("\n", ", ") for panel in panels)


def _absent(study: Study) -> str:
    gone = [TITLES[dataset] for dataset in TITLES if not study.groups(dataset)]
    return f" No run on {', '.join(gone)}." if gone else ""


FIGURES: tuple[Callable[[Study, Path], Figure | None], ...] = (_curves, _rates, _curves_by_time_steps)
"""The paper's, in its order: each draws into a folder, or gives None where the runs cannot fill it."""


def draw_figures(study: Study, folder: Path) -> list[Figure]:
    """Draw every figure that the runs can fill into `folder`, as PNG and SVG."""
    return [figure for make in FIGURES if (figure := make(study, folder))]
