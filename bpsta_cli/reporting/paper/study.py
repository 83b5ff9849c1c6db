"""The runs by the paper's data sets: which ones count for a table, and what they were trained on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bpsta_cli.data import catalogue
from bpsta_cli.errors import DataError, SettingsError
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.comparison import BASELINE
from bpsta_cli.reporting.paper.literature import NAMES, PAPER, TITLES
from bpsta_cli.rules import TWIN

RULES = tuple(NAMES)
METHODS = (TWIN, *RULES)
SELECTIONS = {"final": "last", "validation": "best on validation", "test": "best on test"}
"""Which epoch's weights a value is of, in words (`TrainingSettings.selection`)."""
PARTIAL = "; a partial copy: "
"""What `split` adds where not all of a data set was at hand (`Manifest`)."""
LIKE = ["recipe", "network", "epochs", "selection", "split", "train_samples", "T", "method"]
"""What runs share whose values are averaged."""
VALUES = ["accuracy", "firing_rate", "paper_ratio", "counted_ratio"]


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        dataset: what they were trained on.
        stand_in: it stands for another data set.
        like: the values of `LIKE` that they share; "T" is 1 for the twin on still images, which sees one pass.
        values: `VALUES`, a row a seed; accuracy in percent.
        runs: the runs.
    """

    dataset: str
    stand_in: bool
    like: dict[str, Any]
    values: pd.DataFrame
    runs: tuple[RunResults, ...]

    @property
    def seeds(self) -> int:
        """How many runs."""
        return len(self.values)

    @property
    def trained_on(self) -> str:
        """The data set in words: that it stands in, is simulated, has a recipe of another name, or is a part."""
        words = [self.dataset]
        if self.stand_in:
            words.append("a stand-in")
        if self.dataset in catalogue.names() and catalogue.get(self.dataset).synthetic:
            words.append("simulated")
        if self.like["recipe"] != self.dataset:
            words.append(f"recipe {self.like['recipe']}")
        part = self.like["split"].partition(PARTIAL)[2]
        samples = f"{self.like['train_samples']:,}" if self.like["train_samples"] else ""
        if samples and not part.startswith(f"{samples} of"):
            words.append(f"{samples} training samples")
        if part:
            words.append(part)
        return ", ".join(words)

    def mean(self, name: str) -> float:
        """Mean over seeds; NaN where one of them was not measured."""
        return float(self.values[name].mean(skipna=False))

    def sd(self, name: str) -> float:
        """Standard deviation (n - 1) over seeds."""
        return float(self.values[name].std(skipna=False))


@dataclass(frozen=True)
class Study:
    """What the tables and figures are made from.

    Attributes:
        runs: every run that is there.
        stand_ins: a data set of the paper -> what was trained on in its place.
        missing: names of runs that are not there.
        asked: every run's name -> its data set.
        literature: as `literature.load` gives it.
    """

    runs: list[RunResults]
    stand_ins: dict[str, str]
    missing: list[str]
    asked: dict[str, str]
    literature: pd.DataFrame

    def groups(self, dataset: str) -> list[Group]:
        """The runs on a data set of the paper, or where there are none those on its stand-in."""
        for name in (dataset, self.stand_ins.get(dataset)):
            own = [run for run in self.runs if run.train["dataset"] == name]
            if own:
                return list(_grouped(own, stand_in=name != dataset))
        return []

    def main(self, dataset: str) -> list[Group]:
        """Of each recipe the groups of one T: where most energies were counted, then most runs, then the longest.

        The accuracy of no run decides it. The twin is added with that T, or with whichever it has.
        """
        groups = self.groups(dataset)
        chosen: list[Group] = []
        for recipe in dict.fromkeys(group.like["recipe"] for group in groups):
            own = [group for group in groups if group.like["recipe"] == recipe]
            spiking = [group for group in own if group.like["method"] != TWIN]
            twins = [group for group in own if group.like["method"] == TWIN]
            T = _fullest(spiking or twins)
            same = [group for group in twins if group.like["T"] == T]
            chosen += same or [group for group in twins if group.like["T"] == _fullest(twins)]
            chosen += [group for group in spiking if group.like["T"] == T]
        return chosen

    def names(self) -> list[str]:
        """The paper's data sets that have runs, in its order, then others that were trained on for themselves."""
        found = [dataset for dataset in TITLES if self.groups(dataset)]
        counted = {group.dataset for dataset in found for group in self.groups(dataset)}
        others = dict.fromkeys(run.train["dataset"] for run in self.runs)
        return found + [dataset for dataset in others if dataset not in counted]

    def absence(self, dataset: str) -> str:
        """Why there is no run on a data set of the paper nor on its stand-in."""
        names = [name for name in (dataset, self.stand_ins.get(dataset)) if name]
        gone = [name for name in self.missing if self.asked.get(name) in names]
        if not gone:
            return "no run: not asked for in params.yaml"
        more = f" and {len(gone) - 1} more" if len(gone) > 1 else ""
        return f"no run: {gone[0]}{more} missing"

    def datasets(self, table: int) -> list[str]:
        """The data sets of a table: those that the paper has in it, in its order, then others that have runs."""
        own = self.literature[(self.literature["table"] == table) & (self.literature["reference"] == PAPER)]
        printed = list(dict.fromkeys(own["dataset"]))
        return printed + [dataset for dataset in TITLES if dataset not in printed and self.groups(dataset)]


def check_stand_ins(stand_ins: dict[str, str]) -> None:
    """Refuse a stand-in for or by what is no data set.

    Raises:
        SettingsError: `stand_ins` names a data set that the paper, or the catalogue, does not have.
    """
    for dataset, instead in stand_ins.items():
        if dataset not in TITLES:
            raise SettingsError(
                "a stand-in for no data set of the paper",
                expected=f"one of {', '.join(TITLES)} (params.yaml, stand_ins)",
                got=f"{dataset}: {instead}",
                todo=f"Correct {dataset}, or remove the line.",
            )
        try:
            catalogue.get(instead)
        except DataError as unknown:
            raise SettingsError(
                f"unknown stand-in for {dataset}",
                expected=unknown.expected,
                got=f"{dataset}: {instead} (params.yaml, stand_ins)",
                todo=unknown.todo,
            ) from None


def of_baseline(group: Group, groups: Iterable[Group]) -> Group | None:
    """The baseline's group that `group` is held against: the same recipe and T."""
    for other in groups:
        if other.like == group.like | {"method": BASELINE}:
            return other if other is not group else None
    return None


def _fullest(groups: list[Group]) -> int | None:
    def fullness(T: int) -> tuple[int, int, int]:
        there = [group for group in groups if group.like["T"] == T]
        counted = sum(int(group.values["paper_ratio"].notna().sum()) for group in there)
        return counted, sum(group.seeds for group in there), T

    return max({group.like["T"] for group in groups}, key=fullness, default=None)


def _grouped(runs: list[RunResults], *, stand_in: bool) -> Iterable[Group]:
    """By `LIKE`: recipes in order of appearance, T rising, methods as `METHODS` has them."""
    alike: dict[tuple[Any, ...], dict[int, RunResults]] = {}
    for run in runs:
        # by seed: the twin on still images is one run, whatever its T
        alike.setdefault(tuple(_like(run).values()), {}).setdefault(run.train["seed"], run)
    groups = []
    for seeds in alike.values():
        own = list(seeds.values())
        values = pd.DataFrame(map(_values, own)).astype(float)
        groups.append(Group(own[0].train["dataset"], stand_in, _like(own[0]), values, tuple(own)))
    order = list(dict.fromkeys(group.like["recipe"] for group in groups))
    return sorted(
        groups,
        key=lambda group: (
            order.index(group.like["recipe"]),
            group.like["T"],
            METHODS.index(group.like["method"]) if group.like["method"] in METHODS else len(METHODS),
        ),
    )


def _like(run: RunResults) -> dict[str, Any]:
    train = run.train
    data = run.recorded.get("settings", {}).get("data", {})
    values = {
        "recipe": run.recipe,
        "network": train["network"],
        "epochs": train["epochs"],
        "selection": train["selection"],
        "split": train.get("split") or "not recorded",
        "train_samples": data.get("train_samples"),
        "T": 1 if train["method"] == TWIN and _still(train["dataset"]) else train["T"],
        "method": train["method"],
    }
    return {name: values[name] for name in LIKE}


def _still(dataset: str) -> bool:
    return dataset in catalogue.names() and catalogue.get(dataset).kind == "image"


def _values(run: RunResults) -> dict[str, float | None]:
    energy = run.energy
    values = {
        "accuracy": 100 * run.train["accuracy"],
        "firing_rate": run.train["firing_rate"],
        "paper_ratio": energy["paper"]["ratio"] if energy else None,
        "counted_ratio": energy["counted"]["ratio"] if energy else None,
    }
    return {name: values[name] for name in VALUES}
