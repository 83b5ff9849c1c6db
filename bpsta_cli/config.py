"""The validated settings of a run and of the whole study (params.yaml): one schema, no torch."""

import dataclasses
from collections.abc import Container, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
RuleSettings = dict[str, rules.Value]
OLD_RECORD = {"alpha", "surrogate", "surrogate_width", "detach_reset"}
"""What every run recorded of its rule, whatever it was, before a rule owned its settings."""


class _Strict(BaseModel):
    """Unknown keys are errors: a misspelt key must never pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class NeuronSettings(_Strict):
    """The leaky integrate-and-fire neuron's constants (Eq. 4)."""

    threshold: float = Field(0.5, gt=0, description="firing threshold theta, in units of the potential")
    decay: float = Field(0.9, ge=0, le=1, description="decay lambda of the potential per time step")


class TrainingSettings(_Strict):
    """How the weights are found (the paper's "Results"), the same for every method."""

    lr: float = Field(6e-3, gt=0, description="peak learning rate of AdamW")
    lr_scaling: Literal["none", "fan-in"] = Field(
        "fan-in", description="fan-in: linear layers, which have no norm, learn at lr x 64 / inputs, at most lr"
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's decoupled weight decay")
    lr_warmup_epochs: int | None = Field(
        None,
        ge=0,
        description="epochs over which the learning rate rises; none: 5, at most a tenth of the epochs",
    )
    schedule: Literal["cosine", "sgdr"] = Field("cosine", description="what follows the rise")
    sgdr_period: int = Field(10, ge=1, description="sgdr: epochs of the first cosine; each next is twice as long")
    loss: Literal["mse", "cross-entropy", "tet"] = Field("mse", description="the loss; mse is the paper's Eq. 5")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the whole gradient; none: no limit")
    norm: Literal["folded", "tdbn", "per-step"] = Field(
        "folded",
        description="batch norm's statistics: of all steps together, scaled by the threshold (tdbn) or not (folded), "
        "or of each step as published",
    )
    dropout: float = Field(0.5, ge=0, lt=1, description="share of neurons that a DP token silences")
    selection: Literal["final", "validation", "test"] = Field(
        "final",
        description="which epoch's weights are kept: the last, or the best on a held-out part or the test set",
    )
    validation_fraction: float = Field(
        0.1,
        gt=0,
        lt=1,
        description="share of the training part held out under selection validation, where a data set has no such part",
    )
    evaluate_every: int = Field(
        1, ge=1, description="epochs from one evaluation to the next; the last is always evaluated"
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="parts that a batch is computed in, one after another, for want of memory; the norm's statistics "
        "are then of each part",
    )
    recompute: bool = Field(
        False, description="compute activations again in the backward pass: less memory, longer steps, equal weights"
    )
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32",
        description="number format of convolutions and linear layers in training; weights and evaluation stay float32",
    )
    convolution: Literal["dense", "auto"] = Field(
        "dense",
        description="training on a CPU, dense: every product; auto: those with 0 left out where few inputs are ones, "
        "which adds in another order; evaluation stays dense",
    )


Steps = Annotated[
    int,
    Field(
        ge=1,
        le=10_000,
        description="number of time steps; recordings are cut into as many frames, images fit any number",
    ),
]


class StoreSettings(_Strict):
    """What the prepared store of a data set depends on, beside the number of time steps."""

    split_by: Literal["number", "time"] = Field("number", description="events: how they are cut into T frames")
    size: int | None = Field(
        None,
        ge=1,
        description="events, and images of your own: side of the frames in pixels; none: the sensor's",
    )
    resize: Literal["sum", "nearest"] = Field(
        "sum",
        description="a coarser cell adds its pixels up (of images: takes the mean), or takes one of them as the "
        "paper's code does",
    )
    test_fraction: float | None = Field(
        None, gt=0, lt=1, description="share of the training samples held out where a copy has no test part"
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="which samples a test_fraction holds out")


class Preparation(StoreSettings):
    """How a data set is prepared: everything that decides what its store holds, but for the source."""

    T: Steps | None = Field(None, description="frames of a recording; none: of images, which fit any number")


class DatasetSettings(StoreSettings):
    """One data set's own share of the settings."""

    network: str = Field(description="a named structure or the paper's notation")
    epochs: int = Field(ge=1, description="passes over the training part, warm-up included")
    warmup_epochs: int = Field(ge=0, description="the first epochs, trained as the ReLU twin without neurons")
    batch_size: int = Field(ge=1, description="samples per training step")
    train_samples: int | None = Field(
        None, ge=1, description="training samples used, drawn by class and seed; none: all of them"
    )
    source: str | None = Field(
        None, description="folder of an existing copy of the raw files, read where it lies; none: download"
    )
    augmentation: Literal["none", "standard"] = Field(
        "none",
        description="how training samples are changed: not, or by shifts, and flips where the classes allow them",
    )

    def preparation(self, T: int) -> Preparation:
        """How the data are prepared for runs of T time steps."""
        return Preparation(T=T, **self.model_dump(include=set(StoreSettings.model_fields)))

    @model_validator(mode="after")
    def _warmup_leaves_an_epoch(self) -> "DatasetSettings":
        if self.warmup_epochs >= self.epochs:
            raise ValueError(f"warmup_epochs ({self.warmup_epochs}) must be less than epochs ({self.epochs})")
        return self


RECIPE = ("network", "epochs", "warmup_epochs", "batch_size", "augmentation", "size")
"""What the catalogue's recipe of a data set gives, where no params.yaml does."""


class RunSettings(_Strict):
    """Everything that decides the outcome of one training run."""

    dataset: str = Field(description="which data set; bpsta prepare --list shows them all")
    method: str = Field(
        "bpsta",
        description="learning rule: stbp, bpsa, bpsta, a file with a rule of your own; or ann, the ReLU twin",
    )
    T: Steps = 8
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, order of samples and dropout")
    data: DatasetSettings
    neuron: NeuronSettings = NeuronSettings()
    rule: RuleSettings = Field({}, description="settings of the method's own")
    training: TrainingSettings = TrainingSettings()
    init_from: str | None = Field(None, description="run whose weights are the starting point; none: random weights")

    @field_validator("rule")
    @classmethod
    def _rule_has_these_settings(cls, values: RuleSettings, info: ValidationInfo) -> RuleSettings:
        return _settings_of_method(info.data.get("method", ""), values, "rule", info)

    def make_rule(self, rule: type[rules.Rule] | None = None) -> rules.Rule | None:
        """The learning rule with its settings; None for the ReLU twin.

        Args:
            rule: its class; None: the method's, and a file with a rule of the user's own is run for it.

        Raises:
            SettingsError: an unknown rule, an unusable file, or settings that are not the rule's.
        """
        if self.method == rules.TWIN:
            return None
        rule = rule or rules.find(self.method)
        own = {each.name for each in rules.settings_of(rule)}
        return rule(**rules.read(rule, _of_its_own(own, self.rule)))

    def completed(self) -> "RunSettings":
        """The same with every setting of the rule, also of one in a file, which is run for it.

        Raises:
            SettingsError: as `make_rule`.
        """
        rule = self.make_rule()
        return self if rule is None else self.model_copy(update={"rule": dataclasses.asdict(rule)})

    @property
    def lr_warmup_epochs(self) -> int:
        """Epochs of the learning rate's rise: the setting, or the paper's 5 and at most a tenth of the run."""
        chosen = self.training.lr_warmup_epochs
        return min(5, self.data.epochs // 10) if chosen is None else chosen


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
"""Small letters, digits and hyphens: it becomes part of paths and of DVC's keys, where a dot separates."""


class Run(_Strict):
    """One run of the study, a line of params.yaml."""

    dataset: Name = Field(description="the catalogue's name of what it is trained on")
    recipe: Name = Field(description="the entry of datasets that holds its structure, epochs and so on")
    method: Name
    T: Steps
    seed: int = Field(ge=0, lt=2**31)

    @property
    def name(self) -> str:
        """What its line, its directory and its files are called: "digits-bpsta-T8-s0"."""
        return f"{self.recipe}-{self.method}-T{self.T}-s{self.seed}"


class Params(_Strict):
    """params.yaml: the runs of the study and their settings."""

    measured: dict[str, Run] = Field({}, description="trained and measured: evaluation, energy, accuracy over time")
    train_only: dict[str, Run] = Field({}, description="trained and not measured: the ReLU twins, other T")
    stand_ins: dict[str, str] = Field({}, description="data set of the paper -> the one that stands for it")
    neuron: NeuronSettings = NeuronSettings()
    methods: dict[str, RuleSettings] = Field(
        {}, description="rule, or the path of its file -> its settings; the defaults for what is not said"
    )
    training: TrainingSettings = TrainingSettings()
    datasets: dict[str, DatasetSettings]

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
        return {name: _settings_of_method(name, values, f"methods.{name}", info) for name, values in methods.items()}

    @field_validator("measured", "train_only")
    @classmethod
    def _lines_are_named_after_their_runs(cls, runs: dict[str, Run]) -> dict[str, Run]:
        for name, run in runs.items():
            if name != run.name:
                raise ValueError(f"{name} has to be called {run.name}, after what it runs")
        return runs

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
        """What the file says of one learning rule; of a rule file by its path as given, or by its rule's name.

        Raises:
            SettingsError: a rule file that cannot be used; it is run where its path is not in the file.
        """
        name = rules.find(method).name if method.endswith(".py") and method not in self.methods else method
        return self.methods.get(name, {})


def _settings_of_method(method: str, values: RuleSettings, key: str, info: ValidationInfo) -> RuleSettings:
    """All settings of a method. A rule that is not known yet, as of a file that was not run, is not looked into."""
    rule = rules.known(method)
    if rule is None and method != rules.TWIN:
        return values
    where = (info.context or {}).get("where", "the settings")
    own = {} if rule is None else {each.name: each for each in rules.settings_of(rule)}
    values = _of_its_own(own, values)
    for name, value in values.items():
        if name not in own:
            raise _unknown_key(f"{key}.{name}", own, where)
        try:
            own[name].read(value)
        except SettingsError as refused:
            raise SettingsError(
                f"unusable value in {where}",
                expected=f"{key}.{name}: {refused.expected}",
                got=refused.got,
                todo=f"Correct {key}.{name}.",
            ) from None
    return {name: each.read(values.get(name, each.default)) for name, each in own.items()}


def _of_its_own(own: Container[str], values: RuleSettings) -> RuleSettings:
    """`values`, less what an old record holds of other rules."""
    old = values.keys() == OLD_RECORD
    return {name: value for name, value in values.items() if name in own or not old}


RENAMED = {"cells": "measured", "trained": "train_only", "settings": "recipe"}
"""Keys of an older params.yaml, and what they are called now."""


def validate(model: type[Model], values: Any, *, where: str) -> Model:
    """Check `values` against `model`; the first problem becomes a SettingsError that names its key."""
    try:
        return model.model_validate(values, context={"where": where})
    except ValidationError as invalid:
        raise _explain(invalid, model, where) from None


def load_params(path: Path) -> Params:
    """Read and check a params.yaml.

    Raises:
        SettingsError: no such file, not YAML, an unknown key, a value out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as refused:
        raise SettingsError(
            "no such settings file",
            expected="a params.yaml",
            got=f"{path} ({refused.strerror})",
            todo="Check the path after --params.",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise SettingsError(
            "unreadable settings file",
            expected="YAML",
            got=f"{path}: {' '.join(str(broken).split())}",
            todo="Mend the file at that line.",
        ) from None
    return validate(Params, values, where=str(path))


def _explain(invalid: ValidationError, model: type[BaseModel], where: str) -> SettingsError:
    errors = invalid.errors(include_url=False)
    # a renamed key is missing under its new name too, which the reader would be told first
    first = next((error for error in errors if _new_name(error, model)), errors[0])
    key = ".".join(str(part) for part in first["loc"]) or "the whole"
    if first["type"] == "extra_forbidden":
        siblings = _keys_beside(model, tuple(str(part) for part in first["loc"][:-1]))
        return _unknown_key(key, siblings, where, renamed=_new_name(first, model))
    return SettingsError(
        f"unusable value in {where}",
        expected=f"{key}: {first['msg'].removeprefix('Value error, ')}",
        got="nothing" if first["type"] == "missing" else repr(first["input"])[:80],
        todo=f"Correct {key}.",
    )


def _new_name(error: "ErrorDetails", model: type[BaseModel]) -> str | None:
    """What an unknown key of an older file is called now; None for any other error."""
    if error["type"] != "extra_forbidden":
        return None
    *path, key = map(str, error["loc"])
    new = RENAMED.get(key)
    return new if new in _keys_beside(model, tuple(path)) else None


def _unknown_key(key: str, siblings: Iterable[str], where: str, *, renamed: str | None = None) -> SettingsError:
    known, name = list(siblings), key.rpartition(".")[2]
    return SettingsError(
        f"unknown key in {where}",
        expected=f"one of {', '.join(known)}" if known else "no key there",
        got=key,
        todo=f"The key {name} is called {renamed} now: rename it."
        if renamed
        else did_you_mean(name, known, otherwise="Remove it or correct its spelling."),
    )


def _keys_beside(model: type[BaseModel], path: tuple[str, ...]) -> list[str]:
    """The names that the schema knows at `path`; dictionaries of models are stepped through by any name."""
    for part in path:
        field = model.model_fields.get(part)
        annotation = field.annotation if field is not None else None
        arguments = getattr(annotation, "__args__", ())
        inner = [a for a in (annotation, *arguments) if isinstance(a, type) and issubclass(a, BaseModel)]
        if inner:
            model = inner[0]
    return list(model.model_fields)
