"""params.yaml: the runs of the study, a line each, and their settings."""

import re
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from bpsta_cli import rules
from bpsta_cli.config.rule_settings import RuleSettings, settings_of_method
from bpsta_cli.config.run_settings import DatasetSettings, NeuronSettings, RunSettings, Steps, TrainingSettings
from bpsta_cli.config.space import Space
from bpsta_cli.config.validation import NAME, Name, Strict, place_of, validate
from bpsta_cli.config.variants import Variant, checked, merged_training
from bpsta_cli.errors import SettingsError, did_you_mean
from bpsta_cli.reading import MissingError, UnreadableError, documents


class Run(Strict):
    """One run of the study, a line of params.yaml."""

    dataset: Name = Field(description="the catalogue's name of what it is trained on")
    recipe: Name = Field(description="the entry of datasets that holds its structure, epochs and so on")
    method: Name = Field(description="a learning rule, a variant of one, or the ReLU twin")
    T: Steps
    seed: int = Field(ge=0, lt=2**31)

    @property
    def name(self) -> str:
        """What its line, its directory and its files are called: "digits-bpsta-T8-s0"."""
        return f"{self.recipe}-{self.method}-T{self.T}-s{self.seed}"


class Params(Strict):
    """params.yaml: the runs of the study and their settings."""

    measured: dict[str, Run] = Field({}, description="trained and measured: evaluation, energy, accuracy over time")
    train_only: dict[str, Run] = Field({}, description="trained and evaluated, no more: the ReLU twins, other T")
    stand_ins: dict[str, str] = Field({}, description="data set of the paper -> the one that stands for it")
    neuron: NeuronSettings = NeuronSettings()
    methods: dict[str, RuleSettings] = Field(
        {}, description="rule, or the path of its file -> its settings; the defaults for what is not said"
    )
    training: TrainingSettings = TrainingSettings()
    variants: dict[str, Variant] = Field(
        {}, description="name that may stand for a method -> a rule and what is set otherwise for it"
    )
    search: Space | None = Field(None, description="what `bpsta tune` and pipelines/tune.py search; it decides no run")
    datasets: dict[str, DatasetSettings]

    @field_validator("datasets")
    @classmethod
    def _recipes_have_names(
        cls, datasets: dict[str, DatasetSettings], info: ValidationInfo
    ) -> dict[str, DatasetSettings]:
        for name in datasets:
            if not re.fullmatch(NAME, name):
                raise SettingsError(
                    f"unusable name in {place_of(info)}",
                    expected="datasets: small letters, digits and single hyphens, as it becomes part of paths",
                    got=repr(name)[:80],
                    todo="Rename it, and the recipe of its runs.",
                )
        return datasets

    @field_validator("measured")
    @classmethod
    def _twins_have_no_spikes_to_measure(cls, measured: dict[str, Run]) -> dict[str, Run]:
        for name, run in measured.items():
            if run.method == rules.TWIN:
                raise ValueError(f"learning rules only; {name} is a ReLU twin and belongs under train_only")
        return measured

    @field_validator("methods")
    @classmethod
    def _rules_have_these_settings(cls, methods: dict[str, RuleSettings], info: ValidationInfo) -> Any:
        return {name: settings_of_method(name, values, f"methods.{name}", info) for name, values in methods.items()}

    @field_validator("variants")
    @classmethod
    def _variants_are_of_rules(cls, variants: dict[str, Variant], info: ValidationInfo) -> dict[str, Variant]:
        training = info.data.get("training")
        return variants if training is None else checked(variants, training, info)  # what is refused is told first

    @field_validator("measured", "train_only")
    @classmethod
    def _lines_are_named_after_their_runs(cls, runs: dict[str, Run]) -> dict[str, Run]:
        for name, run in runs.items():
            if name != run.name:
                raise ValueError(f"{name} has to be called {run.name}, after what it runs")
        return runs

    @model_validator(mode="after")
    def _every_method_is_known(self) -> "Params":
        known = dict.fromkeys((*rules.names(), rules.TWIN, *self.variants, *self.methods))
        for name, run in self.runs.items():
            if run.method not in known:
                raise SettingsError(
                    "unknown method in the settings",
                    expected=f"{name}.method: one of {', '.join(known)}",
                    got=repr(run.method)[:80],
                    todo=did_you_mean(run.method, known, otherwise="Correct it, or add it under variants."),
                )
        return self

    @model_validator(mode="after")
    def _every_run_stands_once_and_has_its_recipe(self) -> "Params":
        if twice := self.measured.keys() & self.train_only.keys():
            raise ValueError(f"{min(twice)} is in measured and in train_only; take out one")
        datasets: dict[str, str] = {}
        for name, run in self.runs.items():
            if run.recipe not in self.datasets:
                raise ValueError(f"{name} names the recipe {run.recipe}, and datasets has no such entry")
            if datasets.setdefault(run.recipe, run.dataset) != run.dataset:
                both = f"{datasets[run.recipe]} and {run.dataset}"
                raise ValueError(f"the recipe {run.recipe} is used for {both}; give each an entry of its own")
        return self

    @property
    def runs(self) -> dict[str, Run]:
        """All runs, the measured ones first, in the file's order."""
        return self.measured | self.train_only

    def run(self, name: str) -> Run:
        """The run of this name.

        Raises:
            SettingsError: there is none.
        """
        if name not in self.runs:
            raise SettingsError(
                "unknown run",
                expected="the name of a line under measured or train_only (params.yaml)",
                got=repr(name),
                todo=did_you_mean(name, self.runs, otherwise="Add its line there."),
            )
        return self.runs[name]

    def runs_with(self, recipe: str) -> list[Run]:
        """The runs that use one entry of datasets."""
        return [run for run in self.runs.values() if run.recipe == recipe]

    def recipe_of(self, name: str) -> DatasetSettings:
        """An entry of datasets.

        Raises:
            SettingsError: there is none of this name.
        """
        if name not in self.datasets:
            raise SettingsError(
                "unknown recipe",
                expected=f"one of {', '.join(self.datasets)} (params.yaml, datasets)",
                got=repr(name),
                todo="Add its entry under datasets.",
            )
        return self.datasets[name]

    def rule_of(self, method: str) -> RuleSettings:
        """What the file says of one rule or variant; of a rule file by its path as given, or by its rule's name.

        Raises:
            SettingsError: a rule file that cannot be used; it is run where its path is not in the file.
        """
        if (variant := self.variants.get(method)) is not None:
            return self.methods.get(variant.method, {}) | variant.rule
        name = rules.find(method).name if method.endswith(".py") and method not in self.methods else method
        return self.methods.get(name, {})

    def training_of(self, method: str) -> TrainingSettings:
        """How a rule or variant is trained."""
        variant = self.variants.get(method)
        return self.training if variant is None else merged_training(self.training, variant, method, "params.yaml")

    def settings_of(self, run: Run) -> RunSettings:
        """Everything that decides the outcome of a run of this study."""
        variant = self.variants.get(run.method)
        return RunSettings(
            dataset=run.dataset,
            method=run.method if variant is None else variant.method,
            variant=None if variant is None else run.method,
            T=run.T,
            seed=run.seed,
            data=self.recipe_of(run.recipe),
            neuron=self.neuron,
            rule=self.rule_of(run.method),
            training=self.training_of(run.method),
        )


def load_params(path: Path | str) -> Params:
    """Read and check a params.yaml.

    Raises:
        SettingsError: no such file, not YAML, an unknown key, a value out of range.
    """
    path = Path(path)
    try:
        values = documents.yaml(path)
    except MissingError as missing:
        raise SettingsError(
            "no such settings file",
            expected="a params.yaml",
            got=f"{path} ({missing.got})",
            todo="Check the path after --params.",
        ) from None
    except UnreadableError as broken:
        raise SettingsError(
            "unreadable settings file",
            expected=broken.expected,
            got=f"{path}: {broken.got}",
            todo="Mend the file, or give another one.",
        ) from None
    return validate(Params, values, where=str(path))
