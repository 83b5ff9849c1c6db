"""A run's settings and data in a line each, for use in Python; `bpsta train` reads both from its options."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bpsta_cli import rules
from bpsta_cli.config import DatasetSettings, NeuronSettings, RunSettings, TrainingSettings, validate
from bpsta_cli.data import home
from bpsta_cli.data.presets import preset
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.data.store import Store
from bpsta_cli.errors import SettingsError, did_you_mean

GROUPS: dict[str, type[BaseModel]] = {"data": DatasetSettings, "neuron": NeuronSettings, "training": TrainingSettings}
"""Where each setting belongs, by the groups of `RunSettings`."""
WHERE = "the arguments"


def settings(dataset: str, **options: Any) -> RunSettings:
    """Settings of a run on `dataset`: the catalogue's recipe, with `options` on top.

    Args:
        dataset: a name that `bpsta prepare --list` shows; the one for your own files is folder, with `source`.
        options: any setting of `bpsta train` by its name, such as T=4, method="bpsa", epochs=3, lr=0.01 or
            network="16C3-10Voting"; or one of the learning rule, such as alpha=0.2. For another number of epochs the
            warm-up keeps its share of them. The file of a `method` that is one is run.

    Raises:
        SettingsError: a setting that there is not, or a value that it cannot have.
        DataError: unknown data set, or a folder that is not laid out as one.
    """
    options = {name: str(value) if isinstance(value, Path) else value for name, value in options.items()}
    groups: dict[str, dict[str, Any]] = {name: {} for name in (*GROUPS, "run", "rule")}
    for name, value in options.items():
        groups[_group(name)][name] = value
    own = _settings_of_rule(str(options.get("method", RunSettings.model_fields["method"].default)))
    known = [*(name for model in GROUPS.values() for name in model.model_fields), *_run_fields(), *own]
    for name in groups["rule"]:
        if name not in own:
            raise SettingsError(
                "unknown setting",
                expected=f"one of bpsta train, or of the learning rule: {', '.join(own) or 'it has none'}",
                got=name,
                todo=did_you_mean(name, known, otherwise="bpsta train --help shows all."),
            )
    data = preset(dataset, epochs=options.get("epochs"), source=options.get("source"))
    chosen = {
        "data": data.model_dump() | groups["data"],
        "neuron": groups["neuron"],
        "training": groups["training"],
        "rule": groups["rule"],
    }
    return validate(RunSettings, {"dataset": dataset} | groups["run"] | chosen, where=WHERE)


def data(run: RunSettings, data_dir: str | Path | None = None) -> Store:
    """The prepared data of a run, downloaded and prepared first where they are not there.

    Args:
        run: its settings.
        data_dir: folder of raw and prepared data; None: the one that `bpsta train` takes (BPSTA_DATA names another).

    Raises:
        DataError: the data cannot be prepared.
    """
    return prepared_store(
        run.dataset, run.data, T=run.T, data_dir=home.folder() if data_dir is None else Path(data_dir)
    )


def _group(name: str) -> str:
    found = (group for group, model in GROUPS.items() if name in model.model_fields)
    return next(found, "run" if name in _run_fields() else "rule")


def _run_fields() -> set[str]:
    return set(RunSettings.model_fields) - {"dataset", "rule", "variant", *GROUPS}


def _settings_of_rule(method: str) -> list[str]:
    if method == rules.TWIN:
        return []
    return [each.name for each in rules.settings_of(rules.find(method))]
