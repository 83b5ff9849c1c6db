"""The settings of one run: what decides its outcome, each key with its meaning and its limits."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from bpsta_cli import rules
from bpsta_cli.config.rule_settings import RuleSettings, of_its_own, settings_of_method
from bpsta_cli.config.validation import Name, Strict


class NeuronSettings(Strict):
    """The leaky integrate-and-fire neuron's constants (Eq. 4)."""

    threshold: float = Field(0.5, gt=0, description="firing threshold theta, in units of the potential")
    decay: float = Field(0.9, ge=0, le=1, description="decay lambda of the potential per time step")


def _all_or_a_number(value: Any) -> Any:
    """A command line gives a number as text."""
    if value == "all":
        return value
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= 1):
        raise ValueError("all, or a number of epochs >= 1")
    return int(text)


AllOrEpochs = Annotated[int | Literal["all"], BeforeValidator(_all_or_a_number)]
"""So many epochs, at least one, or all."""


class TrainingSettings(Strict):
    """How the weights are found (the paper's "Results"), the same for every method."""

    lr: float = Field(6e-3, gt=0, description="peak learning rate of AdamW")
    lr_scaling: Literal["none", "fan-in"] = Field(
        "fan-in",
        description="fan-in: layers without a norm, all linear ones among them, learn at lr x 64 / inputs, at most lr",
    )
    weight_decay: float = Field(1e-4, ge=0, description="AdamW's decoupled weight decay")
    norm_weight_decay: bool = Field(True, description="whether the norms' gains and shifts decay too")
    idle_momentum: bool = Field(
        True, description="whether AdamW also moves output channels that have no gradient in a step, by their momentum"
    )
    lr_warmup_epochs: int | None = Field(
        None,
        ge=0,
        description="epochs over which the learning rate rises; none: 5, at most a tenth of the epochs",
    )
    schedule: Literal["cosine", "sgdr"] = Field("cosine", description="what follows the rise")
    sgdr_period: int = Field(10, ge=1, description="sgdr: epochs of the first cosine; each next is twice as long")
    warmup: Literal["auto", "twin", "sigmoid", "both", "none"] = Field(
        "auto",
        description="what keeps neurons from falling silent for good: first epochs as the ReLU twin (twin), a "
        "sigmoid's gradient where a neuron hardly fires (sigmoid), both, or none; auto: both under bpsa and bpsta, "
        "whose silent neurons have no gradient of their own, twin under other rules",
    )
    silent_gradient: AllOrEpochs = Field(
        "all",
        description="where warmup has the sigmoid's gradient: how many of the first epochs with spikes have it",
    )
    silent_tau: float = Field(
        3.0, ge=1, description="time constant, in steps, of the trace that says where a neuron hardly fires"
    )
    silent_width: float = Field(0.2, gt=0, description="width of the sigmoid, in units of the potential")
    initial_rate: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="firing rate that each layer's gain is set to before the first epoch with spikes; none: gains stay",
    )
    loss: Literal["mse", "cross-entropy", "tet", "one-sided"] = Field(
        "mse",
        description="the loss; mse is the paper's Eq. 5, one-sided that of votes below right_rate or above wrong_rate",
    )
    right_rate: float = Field(0.9, gt=0, le=1, description="one-sided: mean vote that is enough for the right class")
    wrong_rate: float = Field(0.05, ge=0, lt=1, description="one-sided: mean vote that is allowed to a wrong class")
    spike_penalty: float = Field(
        0.0, ge=0, description="times the share of neurons and steps that spike, added to the loss that is trained on"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    clip_norm: float | None = Field(None, gt=0, description="largest norm of the whole gradient; none: no limit")
    norm: Literal["folded", "tdbn", "per-step", "none"] = Field(
        "folded",
        description="batch norm's statistics: of all steps together, scaled by the threshold (tdbn) or not (folded), "
        "or of each step as published; none: convolutions with a bias and no norm",
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
    convolution: Literal["auto", "dense"] = Field(
        "auto",
        description="training on a CPU, auto: products with 0 left out where few inputs are ones; dense: every "
        "product; both give the same bits",
    )

    @model_validator(mode="after")
    def _one_sided_loss_has_room_between_its_rates_and_no_smoothing(self) -> "TrainingSettings":
        if self.wrong_rate >= self.right_rate:
            raise ValueError(f"wrong_rate ({self.wrong_rate}) must be less than right_rate ({self.right_rate})")
        if self.loss == "one-sided" and self.label_smoothing:
            raise ValueError(
                "label_smoothing must be 0 with loss one-sided, whose targets are right_rate and wrong_rate"
            )
        return self


Steps = Annotated[
    int,
    Field(
        ge=1,
        le=10_000,
        description="number of time steps; recordings are cut into as many frames, images fit any number",
    ),
]


class StoreSettings(Strict):
    """What the prepared store of a data set depends on, beside the number of time steps."""

    split_by: Literal["number", "time"] = Field("number", description="events: how they are cut into T frames")
    size: int | None = Field(
        None,
        ge=1,
        le=4096,
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
    channels: Literal["as-is", "grey", "colour"] = Field(
        "as-is",
        description="images of your own: as their files are, which must then be all grey or all in colour; or all "
        "brought to grey, or to colour",
    )

    @model_serializer(mode="wrap")
    def _without_channels_that_stay(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what says nothing: records of runs that bring no image to other channels are the same without."""
        content: dict[str, Any] = dump(self)
        if self.channels == "as-is":
            content.pop("channels", None)
        return content


class Preparation(StoreSettings):
    """How a data set is prepared: everything that decides what its store holds, but for the source."""

    T: Steps | None = Field(None, description="frames of a recording; none: of images, which fit any number")


class DatasetSettings(StoreSettings):
    """One data set's own share of the settings."""

    network: str = Field(description="a named structure or the paper's notation")
    epochs: int = Field(ge=1, description="passes over the training part, warm-up included")
    warmup_epochs: int = Field(
        ge=0, description="unless warmup is sigmoid or none: the first epochs, trained as the ReLU twin without neurons"
    )
    batch_size: int = Field(ge=1, description="samples per training step")
    train_samples: int | None = Field(
        None, ge=1, description="training samples used, drawn by class and seed; none: all of them"
    )
    source: str | None = Field(
        None,
        min_length=1,
        description="folder of an existing copy of the raw files, read where it lies; none: download",
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


RECIPE = ("network", "epochs", "warmup_epochs", "batch_size", "augmentation", "size", "split_by")
"""What the catalogue's recipe of a data set gives, where no params.yaml does."""


class RunSettings(Strict):
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
    init_from: str | None = Field(
        None, min_length=1, description="run whose weights are the starting point; none: random weights"
    )
    variant: Name | None = Field(
        None, description="the entry of params.yaml's variants that it was made from; none: of none"
    )

    @model_validator(mode="after")
    def _a_part_of_a_batch_has_a_sample(self) -> "RunSettings":
        if self.training.accumulate > self.data.batch_size:
            raise ValueError(
                f"accumulate ({self.training.accumulate}) must be at most batch_size ({self.data.batch_size})"
            )
        return self

    @field_validator("rule")
    @classmethod
    def _rule_has_these_settings(cls, values: RuleSettings, info: ValidationInfo) -> RuleSettings:
        return settings_of_method(info.data.get("method", ""), values, "rule", info)

    def make_rule(self, rule: type[rules.Rule] | None = None) -> rules.Rule | None:
        """The learning rule with its settings; None for the ReLU twin.

        Args:
            rule: its class; None: the method's. Settings may have been read from anywhere, so that no file is run for
                them: one with a rule of the user's own has to be run before (`rules.find`).

        Raises:
            SettingsError: an unknown rule, one in a file that was not run, or settings that are not the rule's.
        """
        if self.method == rules.TWIN:
            return None
        rule = rule or rules.registered(self.method)
        own = {each.name for each in rules.settings_of(rule)}
        return rule(**rules.read(rule, of_its_own(own, self.rule)))

    def completed(self) -> "RunSettings":
        """The same with every setting of the rule, also of one in a file that was run before.

        Raises:
            SettingsError: as `make_rule`.
        """
        rule = self.make_rule()
        return self if rule is None else self.model_copy(update={"rule": dataclasses.asdict(rule)})

    def flat(self) -> dict[str, Any]:
        """Every setting by its key in params.yaml's notation: "T", "data.epochs", "rule.alpha"."""
        found: dict[str, Any] = {}
        for key, value in self:
            inner = value.items() if isinstance(value, dict) else value if isinstance(value, Strict) else None
            found |= {key: value} if inner is None else {f"{key}.{name}": each for name, each in inner}
        return found

    @property
    def label(self) -> str:
        """What tables and files of results call the method: the variant, else the rule.

        A rule of the user's own goes by the name it is registered under, or by its file's where that was not run here.
        """
        if self.variant or not self.method.endswith(".py"):
            return self.variant or self.method
        rule = rules.known(self.method)
        return Path(self.method).stem if rule is None else rule.name

    @property
    def lr_warmup_epochs(self) -> int:
        """Epochs of the learning rate's rise: the setting, or the paper's 5 and at most a tenth of the run."""
        chosen = self.training.lr_warmup_epochs
        return min(5, self.data.epochs // 10) if chosen is None else chosen
