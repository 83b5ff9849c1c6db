"""Groups of runs that differ in their seed alone, and what they were trained on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bpsta_cli.data import catalogue
from bpsta_cli.reporting import energy
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.comparison import BASELINE
from bpsta_cli.reporting.paper.literature import NAMES
from bpsta_cli.rules import TWIN

RULES = tuple(NAMES)
METHODS = (TWIN, *RULES)
SELECTIONS = {"final": "last", "validation": "best on validation", "test": "best on test"}
"""Which epoch's weights a value is of, in words (`TrainingSettings.selection`)."""
PARTIAL = "; a partial copy: "
"""What `split` ends with where not all of a data set was at hand, before the counts (`Manifest`)."""
LIKE = ["recipe", "network", "epochs", "selection", "split", "train_samples", "T", "method"]
"""What runs have in common if their values are averaged."""
ENERGY = ("paper_ratio", "counted_ratio", "memory_ratio", "quantised_memory_ratio")
"""Those of `reporting.energy.VALUES` that a group has."""
VALUES = ["accuracy", "firing_rate", *ENERGY]
"""The columns of `Group.values`."""


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone.

    Attributes:
        dataset: what they were trained on.
        stand_in: it stands for another data set.
        like: the values of `LIKE` that they share; "T" is 1 for the twin on still images, which sees one pass.
        values: a column for each of `VALUES`, a row a seed; accuracy in percent.
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
        parts = [self.dataset]
        if self.stand_in:
            parts.append("a stand-in")
        if self.dataset in catalogue.names() and catalogue.get(self.dataset).synthetic:
            parts.append("simulated")
        if self.like["recipe"] != self.dataset:
            parts.append(f"recipe {self.like['recipe']}")
        partial = self.like["split"].partition(PARTIAL)[2]
        samples = f"{self.like['train_samples']:,}" if self.like["train_samples"] else ""
        if samples and not partial.startswith(f"{samples} of"):
            parts.append(f"{samples} training samples")
        if partial:
            parts.append(partial)
        return ", ".join(parts)

    def mean(self, name: str) -> float:
        """Mean over seeds; NaN where one of them was not measured."""
        return float(self.values[name].mean(skipna=False))

    def sd(self, name: str) -> float:
        """Standard deviation (n - 1) over seeds."""
        return float(self.values[name].std(skipna=False))


def grouped(runs: list[RunResults], *, stand_in: bool) -> Iterable[Group]:
    """Runs with equal `LIKE` together: recipes in order of appearance, T rising, methods in the order of `METHODS`."""
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


def of_baseline(group: Group, groups: Iterable[Group]) -> Group | None:
    """The baseline's group with which `group` is compared: the same recipe and T."""
    for other in groups:
        if other.like == group.like | {"method": BASELINE}:
            return other if other is not group else None
    return None


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
    values = {"accuracy": 100 * run.train["accuracy"], "firing_rate": run.train["firing_rate"]}
    priced = {name: energy.value(run.energy, name) if run.energy else None for name in ENERGY}
    return values | priced
