"""Run directories of one's own, finished or not, as they are compared and reported without a params.yaml."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.reading import sha256
from bpsta_cli.reporting import records
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.run_table import settings_in
from bpsta_cli.rules import TWIN

METRICS, HISTORY, SETTINGS, PROVENANCE = "metrics.json", "history.csv", "settings.json", "provenance.json"
MEASURED: tuple[records.Kind, ...] = ("energy", "latency")
"""What is read of a run where it was measured into its directory: `bpsta energy RUN --out RUN/energy.json`."""
FACTS = {"data_hash": "data", "split": "split", "rule_sha256": "rule file"}
"""Keys of settings.json beside the settings, and what a reader is told of them."""
SOURCES = ("data", "split", "init_from")
"""Facts beside the groups of settings that make another experiment of a run."""
SHORT = 12
"""Characters of a hash that are shown."""


@dataclass(frozen=True)
class AnyRun:
    """One run directory.

    Attributes:
        name: of the directory; its whole path where two have the same name.
        path: the directory.
        settings: all of them.
        recorded: settings.json.
        metrics: metrics.json; empty of a run that is not finished.
        history: history.csv; no rows where no epoch is done.
        provenance: provenance.json; empty where it is not there.
    """

    name: str
    path: Path
    settings: RunSettings
    recorded: dict[str, Any]
    metrics: dict[str, Any]
    history: pd.DataFrame
    provenance: dict[str, Any]

    @property
    def method(self) -> str:
        """As its training called it: a rule of one's own by its registered name, which no settings.json holds."""
        return str(self.metrics.get("method", self.settings.label))

    @property
    def rule(self) -> str:
        """The learning rule's name; of a file of one's own as in `method`, before the end the file's name."""
        file = Path(self.settings.method)
        if file.suffix != ".py":
            return self.settings.method
        return str(self.metrics.get("method", file.name))

    @property
    def kind(self) -> tuple[str, str, int]:
        """Data set, method and T: runs of which these are the same are alike."""
        return self.settings.dataset, self.method, self.settings.T

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Every setting by its key, and data, split, rule file and code, hashes shortened."""
        others = {title: self.recorded.get(key) or None for key, title in FACTS.items()}
        others["code"] = self.provenance.get("code")
        shown = {key: value if key == "split" or value is None else value[:SHORT] for key, value in others.items()}
        return {**self.settings.flat(), "method": self.rule, **shown}

    def measured(self, kind: records.Kind) -> dict[str, Any]:
        """The measurement in the directory; empty where there is none, or where it is of other weights."""
        file = self.path / f"{kind}.json"
        if not os.path.lexists(file):
            return {}
        found = records.read(file, kind)
        return found if self._weights_sha256 and found.get("weights_sha256") == self._weights_sha256 else {}

    @cached_property
    def _weights_sha256(self) -> str:
        """Of the weights; "" where there are none."""
        weights = self.path / "model.safetensors"
        return sha256(weights) if weights.is_file() else ""


def read_runs(paths: Iterable[str | Path]) -> list[AnyRun]:
    """The runs in these directories, in this order, each once.

    Raises:
        RunError: a directory holds no run, or a file in it cannot be read.
    """
    distinct = {path.resolve(): path for path in reversed(list(map(Path, paths)))}
    ordered = [distinct[place] for place in reversed(distinct)]
    names = [path.resolve().name for path in ordered]
    return [
        _read(path, name if names.count(name) == 1 else str(path)) for path, name in zip(ordered, names, strict=True)
    ]


def _read(path: Path, name: str) -> AnyRun:
    if not (path / SETTINGS).is_file():
        raise RunError(
            "not a run",
            expected="a directory written by bpsta train, with settings.json",
            got=f"{path} ({'without one' if path.is_dir() else 'not a directory'})",
            todo="Give the directory that bpsta train printed.",
        )
    try:
        finished = os.path.lexists(path / METRICS)  # anything that is there must be readable
        recorded = records.read(path / SETTINGS, "settings")
        return AnyRun(
            name,
            path,
            settings_in(recorded, path / SETTINGS),
            recorded=recorded,
            metrics=records.read(path / METRICS, "metrics") if finished else {},
            history=records.read_history(path / HISTORY, finished=finished)
            if finished or os.path.lexists(path / HISTORY)
            else pd.DataFrame({"epoch": [], "phase": []}),
            provenance=records.read(path / PROVENANCE, "provenance") if os.path.lexists(path / PROVENANCE) else {},
        )
    except RunError as broken:
        todo = "Restore the file, or train the run anew with --overwrite."
        raise RunError(broken.problem, expected=broken.expected, got=broken.got, todo=todo) from None


def differing(runs: list[AnyRun]) -> dict[str, list[Any]]:
    """The facts in which the runs differ: key -> the value of each run, None where it has none."""
    facts = [run.facts for run in runs]
    keys = dict.fromkeys(key for each in facts for key in each)
    found = {key: [each.get(key) for each in facts] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def as_results(runs: list[AnyRun]) -> list[RunResults]:
    """Finished runs as the tables take them, so that only runs which differ in nothing but the seed are averaged.

    What else differs stands in the names. In the recipe's: another network, number of epochs and the like, and what
    runs of one method differ in. In the method's: settings of its rule. A setting that each method has its own value
    of, such as a tuned learning rate, is in no name, so that methods are compared with each other.
    """
    alike: dict[tuple[str, str, int], list[AnyRun]] = {}
    same_data: dict[str, list[AnyRun]] = {}
    for run in runs:
        alike.setdefault(run.kind, []).append(run)
        same_data.setdefault(run.settings.dataset, []).append(run)
    differ = {kind: list(differing(group)) for kind, group in alike.items()}
    of_recipe = {
        dataset: _recipe_keys(group, {key for run in group for key in differ[run.kind]})
        for dataset, group in same_data.items()
    }
    return [
        RunResults(
            run.name,
            train=run.metrics | {"method": _method(run, differ[run.kind])},
            history=run.history,
            energy=run.measured("energy"),
            latency=run.measured("latency"),
            evaluation=run.measured("eval") if run.settings.method == TWIN else {},
            recipe=_values(run, of_recipe[run.settings.dataset]) or run.settings.dataset,
            recorded=run.recorded,
        )
        for run in runs
    ]


def _recipe_keys(same_data: list[AnyRun], within: set[str]) -> list[str]:
    """What makes recipes of the runs of one data set; `within` is what runs that are alike differ in."""
    return [
        key
        for key in differing(same_data)
        if key.startswith("data.") or key in SOURCES or (key in within and key.startswith(("training.", "neuron.")))
    ]


def _method(run: AnyRun, differ: list[str]) -> str:
    values = _values(run, [key for key in differ if key in ("rule file", "code") or key.startswith("rule.")])
    return f"{run.method} ({values})" if values else run.method


def _values(run: AnyRun, keys: list[str]) -> str:
    return ", ".join(f"{key.rpartition('.')[2]} {said(run.facts.get(key))}" for key in keys)


def said(value: object) -> str:
    """A setting's value for readers; a dash where there is none."""
    return "-" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
