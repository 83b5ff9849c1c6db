"""Trials of settings: what each trains, what it is told by, and the table that keeps them all."""

import json
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import grid
import pandas as pd
import yaml

from bpsta_cli import files
from bpsta_cli.config import Params, Run, validate
from bpsta_cli.errors import SettingsError
from bpsta_cli.tuning.outcome import outcome

NUMBERS = ("value", "firing_rate", "lowest_layer_rate", "seconds")
JSON = ("settings", "accuracies")
"""Columns of trials.csv that hold an object each."""
Settings = dict[str, Any]
"""What a trial sets: "training.lr" and the like -> a value."""
State = Literal["running", "finished", "failed"]


@dataclass
class Row:
    """A trial, as trials.csv keeps it.

    Attributes:
        number: from 0 on.
        state: running (also: it was interrupted), finished or failed.
        value: accuracy of the last epoch on the validation part, mean over recipes and seeds.
        firing_rate: of the whole network on the validation part, mean over recipes and seeds.
        lowest_layer_rate: of the layer that fired least in the last epoch's training passes of any run.
        seconds: of training, all runs together.
        settings: what was tried.
        problem: why it failed.
        accuracies: that on each recipe by itself, mean over seeds.
    """

    number: int
    settings: Settings
    state: State = "running"
    value: float = math.nan
    firing_rate: float = math.nan
    lowest_layer_rate: float = math.nan
    seconds: float = math.nan
    problem: str = ""
    accuracies: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What settings are sought for: a method at a T, on the recipes and with the seeds that a trial is the mean of."""

    study: Params
    recipes: tuple[str, ...]
    method: str
    T: int
    seeds: tuple[int, ...]
    data_dir: Path

    @property
    def rule(self) -> str:
        """The learning rule, also of a variant."""
        variant = self.study.variants.get(self.method)
        return self.method if variant is None else variant.method

    def lines(self) -> list[Run]:
        """A run a recipe and seed."""
        return [
            Run(dataset=self._dataset(recipe), recipe=recipe, method=self.method, T=self.T, seed=seed)
            for recipe in self.recipes
            for seed in self.seeds
        ]

    def _dataset(self, recipe: str) -> str:
        return next((run.dataset for run in self.study.runs_with(recipe)), recipe)

    def params(self, settings: Settings) -> dict[str, Any]:
        """A params.yaml with these settings, in which the last epoch alone is evaluated, on the validation part.

        Raises:
            SettingsError: settings that training does not take.
        """
        groups: dict[str, Settings] = {"training": {}, "data": {}, "rule": {}}
        for key, value in settings.items():
            group, _, name = key.partition(".")
            groups[group][name] = value
        datasets = {name: self.study.recipe_of(name).model_dump() | groups["data"] for name in self.recipes}
        last = max(data["epochs"] for data in datasets.values())
        measured = {"selection": "validation", "evaluate_every": last}
        values = {
            "train_only": {run.name: run.model_dump() for run in self.lines()},
            "neuron": self.study.neuron.model_dump(),
            "methods": {self.rule: self.study.rule_of(self.method) | groups["rule"]},
            "training": self.study.training_of(self.method).model_dump() | groups["training"] | measured,
            "variants": {self.method: {"method": self.rule}} if self.method in self.study.variants else {},
            "datasets": datasets,
        }
        validate(Params, values, where="a trial's settings")
        return values


def train(row: Row, subject: Subject, folder: Path, trainings: grid.Trainings, jobs: int = 1) -> Row:
    """Train a trial's runs in `folder`; the row with what came out, or as it was where it was stopped."""
    try:
        values = subject.params(row.settings)
    except SettingsError as refused:
        return Row(row.number, row.settings, "failed", problem=str(refused))
    folder.mkdir(parents=True, exist_ok=True)
    params = folder / "params.yaml"
    files.write_text(params, yaml.safe_dump(values, sort_keys=False))

    def one(run: Run) -> grid.Trained:
        named = ["--params", str(params), "--run", run.name, "--out", str(folder / run.name)]
        name = f"{subject.method} {row.number}, {run.recipe}, seed {run.seed}"
        return trainings.train(name, [*named, "--data-dir", str(subject.data_dir)], folder / f"{run.name}.log")

    with ThreadPoolExecutor(jobs) as pool:
        ended = list(pool.map(one, subject.lines()))
    if problem := next((each.problem for each in ended if each.problem), ""):
        return Row(row.number, row.settings, "failed", problem=problem)
    if not all(each.finished for each in ended):
        return row
    found = pd.DataFrame([{"recipe": run.recipe, **outcome(folder / run.name)} for run in subject.lines()])
    value, rate = float(found["value"].mean()), float(found["firing_rate"].mean())
    lowest, seconds = float(found["lowest_layer_rate"].min()), float(found["seconds"].sum())
    accuracies = {name: float(mean) for name, mean in found.groupby("recipe", sort=False)["value"].mean().items()}
    return Row(row.number, row.settings, "finished", value, rate, lowest, round(seconds, 3), accuracies=accuracies)


class Record:
    """trials.csv: every trial, written anew whenever one begins or ends."""

    def __init__(self, file: Path) -> None:
        self.file, self.rows = file, list[Row]()
        if file.is_file():
            found = pd.read_csv(file, keep_default_na=False, na_values={name: [""] for name in NUMBERS})
            rows = found.to_dict("records")
            self.rows = [Row(**{**row, **{name: json.loads(row[name]) for name in JSON}}) for row in rows]

    def keep(self, row: Row) -> None:
        """Put in a trial, or what it has become."""
        self.rows[row.number : row.number + 1] = [row]
        rows = [asdict(each) for each in self.rows]
        table = pd.DataFrame([{**row, **{name: json.dumps(row[name]) for name in JSON}} for row in rows])
        files.write_text(self.file, table.to_csv(index=False))


def best(rows: Sequence[Row]) -> Row | None:
    """The finished trial with the highest value; of equal ones that with the fewest spikes, then the first."""
    finished = [row for row in rows if row.state == "finished"]
    return min(finished, key=lambda row: (-row.value, row.firing_rate, row.number), default=None)


def write_best(record: Record, subject: Subject, file: Path, chosen: Callable[..., Row | None] = best) -> None:
    """The settings found, as an entry of `variants`, and what of the recipe goes with it."""
    row = chosen(record.rows)
    if row is None:
        return
    groups: dict[str, Settings] = {"rule": {}, "training": {}, "data": {}}
    variant = subject.study.variants.get(subject.method)
    if variant is not None:
        groups |= {"rule": dict(variant.rule), "training": dict(variant.training)}
    for key, value in row.settings.items():
        group, _, name = key.partition(".")
        groups[group][name] = value
    data = groups.pop("data")
    datasets = dict.fromkeys(subject.recipes, data)
    found = {"variants": {subject.method: {"method": subject.rule, **groups}}, "datasets": datasets}
    trial = {"number": row.number, "validation_accuracy": row.value, "firing_rate": row.firing_rate}
    files.write_text(file, yaml.safe_dump({"trial": trial, **found}, sort_keys=False))
