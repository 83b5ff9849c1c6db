"""Runs side by side: in which settings they differ, what they came to, and their curves in one picture."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bpsta_cli import files
from bpsta_cli.data.catalogue import HELD_OUT
from bpsta_cli.errors import SettingsError
from bpsta_cli.reporting.any_runs import AnyRun, differing, said
from bpsta_cli.reporting.artifacts import grid
from bpsta_cli.reporting.drawing import OTHERS, STYLES, new_figure, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURES, TABLES = (".png", ".svg"), (".csv", ".md", ".json")
RESULTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "accuracy": ("test accuracy, %", lambda value: f"{100 * value:.2f}"),
    "loss": ("test loss", lambda value: f"{value:.4f}"),
    "firing_rate": ("firing rate", lambda value: f"{value:.4f}"),
    "train_accuracy": ("train accuracy, %", lambda value: f"{100 * value:.2f}"),
}
"""Keys of metrics.json, the heading of each, and how it is shown."""
DIGITS = 6
"""Of a number that a search drew; files for machines have all of them."""
PANELS = {
    "accuracy": ("test accuracy, %", 100),
    "train_loss": ("training loss", 1),
    "firing_rate": ("firing rate", 1),
}
"""Columns of history.csv that are drawn, the heading of each, and what it is multiplied by."""
COLOURS = tuple(colour for colour, _ in (*STYLES.values(), *OTHERS))
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":")
COLUMNS, LINE = 3, 0.22
"""Panels in a row, and the height of a line of the legend in inches."""
LETTERS, DASH = 130, 8
"""So many letters fit into a line of the legend; a run's line takes as much as these before its name."""


@dataclass(frozen=True)
class Comparison:
    """What runs have in common, and what not.

    Attributes:
        runs: the runs.
        settings: the keys that differ, the value of each run.
        same: how many keys do not differ.
        results: a dictionary a run: epochs_done, epochs, selected_epoch (from 0) and `RESULTS`; None where it has none.
    """

    runs: list[AnyRun]
    settings: dict[str, list[Any]]
    same: int
    results: list[dict[str, Any]]

    def frame(self) -> pd.DataFrame:
        """A row a run: its name, the settings that differ, and the results."""
        settings = pd.DataFrame(self.settings, index=range(len(self.runs)), dtype=object)
        names = pd.DataFrame({"run": [run.name for run in self.runs]})
        return pd.concat([names, settings, pd.DataFrame(self.results, dtype=object)], axis=1)

    def settings_display(self) -> pd.DataFrame:
        """A row a run, with the settings that differ, every cell text."""
        shown = {key: _texts(values) for key, values in self.settings.items()}
        return pd.DataFrame({"run": [run.name for run in self.runs], **shown})

    def settings_narrow(self) -> pd.DataFrame:
        """The same with a row a setting where these are more than the runs, so that it fits a terminal."""
        if len(self.settings) <= len(self.runs):
            return self.settings_display()
        rows = [[key, *_texts(values)] for key, values in self.settings.items()]
        return pd.DataFrame(rows, columns=["setting", *(run.name for run in self.runs)])

    def results_display(self) -> pd.DataFrame:
        """A row a run, with what it came to, every cell text; a dash of what it does not have."""
        rows = [
            {
                "run": run.name,
                "epochs": f"{found['epochs_done']} of {found['epochs']}",
                "weights of epoch": "-" if found["selected_epoch"] is None else str(found["selected_epoch"] + 1),
                **{title: "-" if found[key] is None else shown(found[key]) for key, (title, shown) in RESULTS.items()},
            }
            for run, found in zip(self.runs, self.results, strict=True)
        ]
        return pd.DataFrame(rows)

    def note(self) -> str:
        """What of the results a reader must know."""
        chosen = [run.name for run in self.runs if run.settings.training.selection == "test"]
        held_out = [run.name for run in self.runs if HELD_OUT in str(run.recorded.get("split"))]
        open_ones = [run.name for run in self.runs if not run.metrics]
        lines = [f"{self.same} other settings are the same."]
        if open_ones:
            lines.append(f"Not finished: {', '.join(open_ones)}.")
        if held_out:
            lines.append(f"Of held-out training samples, not of the test part: {', '.join(held_out)}.")
        if chosen:
            lines.append(f"The epoch was chosen on the test part: {', '.join(chosen)}.")
        return " ".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "runs": [
                {
                    "run": str(run.path),
                    "settings": {key: values[place] for key, values in self.settings.items()},
                    "metrics": found,
                }
                for place, (run, found) in enumerate(zip(self.runs, self.results, strict=True))
            ],
            "same": self.same,
        }


def compare(runs: list[AnyRun]) -> Comparison:
    """Hold runs against each other."""
    different = differing(runs)
    keys = {key for run in runs for key in run.facts}
    return Comparison(runs, different, len(keys) - len(different), [_result(run) for run in runs])


def _texts(values: list[Any]) -> list[str]:
    """A setting's values for readers: numbers that were drawn in few digits, where these tell them apart as well."""
    short = [float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value for value in values]
    return [said(value) for value in (short if len(set(map(str, short))) == len(set(map(str, values))) else values)]


def _result(run: AnyRun) -> dict[str, Any]:
    counted = {"epochs_done": len(run.history), "epochs": run.settings.data.epochs}
    return counted | {key: run.metrics.get(key) for key in ("selected_epoch", *RESULTS)}


def check_place(path: Path) -> None:
    """Refuse a file that is neither a picture nor a table, before anything is read.

    Raises:
        SettingsError: its name ends otherwise.
    """
    if path.suffix not in (*PICTURES, *TABLES):
        raise SettingsError(
            "unusable file for a comparison",
            expected=f"--out of a picture ({', '.join(PICTURES)}) or a table ({', '.join(TABLES)})",
            got=str(path),
            todo="Correct the ending.",
        )


def write(comparison: Comparison, path: Path) -> None:
    """Write the picture or the table, as the name's ending says.

    Raises:
        SettingsError: as `check_place`.
    """
    check_place(path)
    if path.suffix in PICTURES:
        draw(comparison.runs, path)
    elif path.suffix == ".csv":
        files.write_text(path, comparison.frame().to_csv(index=False))
    elif path.suffix == ".json":
        files.write_checked_json(path, comparison.as_json())
    else:
        parts = [
            "## Results\n",
            grid(comparison.results_display(), ["run"]),
            "## Settings that differ\n",
            grid(comparison.settings_narrow()),
            comparison.note() + "\n",
        ]
        files.write_text(path, "\n".join(parts))


def draw(runs: list[AnyRun], path: Path) -> None:
    """Draw the curves of `PANELS` over epochs, a line a run, into one .png or .svg file."""
    from matplotlib.ticker import MaxNLocator

    named = max(1, min(len(runs), LETTERS // (DASH + max(len(run.name) for run in runs))))
    spines = {"axes.spines.top": False, "axes.spines.right": False}
    with new_figure(3.8 * COLUMNS, 2.9 + LINE * math.ceil(len(runs) / named), spines) as figure:
        places = figure.subplots(1, COLUMNS, sharex=True).flatten()
        for place, (column, (title, factor)) in zip(places, PANELS.items(), strict=True):
            _draw_panel(place, runs, column, factor)
            place.set_title(title, loc="left")
            place.set_xlabel("epoch")
            place.grid(visible=True, linewidth=0.4, alpha=0.6)
            place.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        figure.legend(*places[0].get_legend_handles_labels(), loc="outside upper left", ncols=named, frameon=False)
        save(figure, path)


def _draw_panel(axes: "Axes", runs: list[AnyRun], column: str, factor: float) -> None:
    styles: Callable[[], Any] = cycle([(colour, dashes) for dashes in DASHES for colour in COLOURS]).__next__
    for run in runs:
        colour, dashes = styles()
        column_of = run.history[column] if column in run.history else pd.Series(dtype=float)
        values = pd.to_numeric(column_of, errors="coerce").dropna()
        epochs = run.history["epoch"].loc[values.index] + 1
        mark = "o" if len(values) == 1 else ""  # a line of one point would not be seen
        axes.plot(epochs, values * factor, color=colour, linestyle=dashes, marker=mark, label=run.name, linewidth=1.2)
