"""The trials as a table, which of them no other one beats, and the picture of both."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting.artifacts import grid
from bpsta_cli.reporting.drawing import Panel, draw_sheet
from bpsta_cli.tuning.study import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALL, FRONT = "trials.csv", "front"


def front(trials: list[Trial]) -> list[Trial]:
    """The finished trials that no other one beats: as good in both, better in one. Those with fewest spikes first."""
    finished = [trial for trial in trials if trial.state == "finished"]
    unbeaten = [trial for trial in finished if not any(_beats(other, trial) for other in finished)]
    return sorted(unbeaten, key=lambda trial: (trial.firing_rate, trial.number))


def _beats(one: Trial, other: Trial) -> bool:
    no_worse = one.accuracy >= other.accuracy and one.firing_rate <= other.firing_rate
    return no_worse and (one.accuracy > other.accuracy or one.firing_rate < other.firing_rate)


def display(trials: list[Trial]) -> pd.DataFrame:
    """A row a trial, every cell text."""
    return pd.DataFrame(
        [
            {
                "trial": trial.run.name,
                "validation accuracy": f"{100 * trial.accuracy:.2f} %",
                "firing rate": f"{trial.firing_rate:.4f}",
                **{name: said(value) for name, value in trial.settings.items()},
            }
            for trial in trials
        ]
    )


def write(trials: list[Trial], out: Path) -> list[Path]:
    """Write trials.csv; where a trial is finished also the front as CSV, Markdown and a picture. Returns the files."""
    files.write_text(out / ALL, _frame(trials).to_csv(index=False))
    unbeaten = front(trials)
    if not unbeaten:
        return [out / ALL]
    files.write_text(out / f"{FRONT}.csv", _frame(unbeaten).to_csv(index=False))
    files.write_text(out / f"{FRONT}.md", grid(display(unbeaten), ["trial"]))
    pictures = draw(trials, out / FRONT)
    return [out / ALL, out / f"{FRONT}.csv", out / f"{FRONT}.md", *pictures]


def draw(trials: list[Trial], target: Path) -> list[Path]:
    """Each finished trial as a mark, those of the front joined, as PNG and SVG; `target` is without the suffix."""
    finished = [trial for trial in trials if trial.state == "finished"]

    def marks(axes: "Axes") -> None:
        unbeaten = front(trials)
        others = [trial for trial in finished if trial not in unbeaten]
        axes.plot(*_places(others), "o", color="#999999", markerfacecolor="none", label="trial")
        axes.plot(*_places(unbeaten), "o-", color="#D55E00", label="on the front", linewidth=1.0)
        for trial, x, y in zip(unbeaten, *_places(unbeaten), strict=True):
            axes.annotate(str(trial.number), (x, y), xytext=(4, 4), textcoords="offset points", fontsize=8)

    title = f"{len(finished)} trials, held-out training samples"
    return draw_sheet([Panel(title, marks)], target, ("firing rate", "validation accuracy, %"), whole=False)


def _places(trials: list[Trial]) -> tuple[list[float], list[float]]:
    return [trial.firing_rate for trial in trials], [100 * trial.accuracy for trial in trials]


def _frame(trials: list[Trial]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "number": trial.number,
                "state": trial.state,
                "validation_accuracy": trial.accuracy,
                "firing_rate": trial.firing_rate,
                "seconds": trial.seconds,
                "settings": json.dumps(trial.settings),
                "problem": trial.problem,
            }
            for trial in trials
        ],
        columns=["number", "state", "validation_accuracy", "firing_rate", "seconds", "settings", "problem"],
    )


def as_json(trials: list[Trial]) -> list[dict[str, object]]:
    """The trials for machines; none for a value that is not there."""
    return [
        {
            "number": trial.number,
            "run": str(trial.run),
            "state": trial.state,
            "settings": trial.settings,
            "validation_accuracy": None if math.isnan(trial.accuracy) else trial.accuracy,
            "firing_rate": None if math.isnan(trial.firing_rate) else trial.firing_rate,
            "problem": trial.problem,
        }
        for trial in trials
    ]


def said(value: object) -> str:
    """A setting's value as a table shows it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
