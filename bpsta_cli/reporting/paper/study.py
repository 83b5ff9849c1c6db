"""The runs by the paper's data sets: which of them count for a table."""

from dataclasses import dataclass

import pandas as pd

from bpsta_cli.data import catalogue
from bpsta_cli.errors import DataError, SettingsError
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.paper.groups import Group, grouped
from bpsta_cli.reporting.paper.literature import PAPER, TITLES
from bpsta_cli.rules import TWIN


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
                return list(grouped(own, stand_in=name != dataset))
        return []

    def main(self, dataset: str) -> list[Group]:
        """The groups of one T for each recipe: the T with most counted energies, then with most runs, then the longest.

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
        """The paper's data sets that have runs, in its order, then other data sets that are no stand-ins."""
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
    """Refuse a stand-in where either name is no data set.

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


def _fullest(groups: list[Group]) -> int | None:
    def fullness(T: int) -> tuple[int, int, int]:
        there = [group for group in groups if group.like["T"] == T]
        counted = sum(int(group.values["paper_ratio"].notna().sum()) for group in there)
        return counted, sum(group.seeds for group in there), T

    return max({group.like["T"] for group in groups}, key=fullness, default=None)
