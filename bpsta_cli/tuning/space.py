"""What is searched: the settings and their ranges, from a file or the default."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from bpsta_cli import rules
from bpsta_cli.config import DatasetSettings, TrainingSettings, validate
from bpsta_cli.config.run_settings import StoreSettings
from bpsta_cli.config.validation import Strict, unknown_key
from bpsta_cli.errors import SettingsError
from bpsta_cli.reading import MissingError, UnreadableError, documents

SCALES = ("log", "linear")
GROUPS: dict[str, type[Strict]] = {"training": TrainingSettings, "data": DatasetSettings}
FIXED = {
    "training": ("selection", "validation_fraction", "evaluate_every"),
    "data": (*StoreSettings.model_fields, "train_samples"),
}
"""What decides on which samples a trial is told by: trials that differ in it are not compared."""


class Space(Strict):
    """What is searched, and for how long: pipelines/tuning.yaml."""

    trials: int = Field(ge=1, description="of every method")
    startup: int = Field(ge=1, description="of them drawn at random")
    seed: int = Field(0, ge=0)
    space: dict[Literal["training", "data"], dict[str, list[Any]]]
    rules: dict[str, dict[str, list[Any]]]

    @field_validator("space")
    @classmethod
    def _are_settings(cls, space: dict[str, dict[str, list[Any]]]) -> dict[str, dict[str, list[Any]]]:
        for group, settings in space.items():
            for name in settings.keys() - GROUPS[group].model_fields.keys():
                raise unknown_key(f"space.{group}.{name}", GROUPS[group].model_fields, "the space of settings")
        return space

    def of(self, rule: str) -> dict[str, list[Any]]:
        """The dimensions for a rule."""
        if rule not in self.rules:
            raise SettingsError(
                "a rule without a space",
                expected=f"rules.{rule} in the space of settings",
                got=", ".join(self.rules) or "none",
                todo="Add it; {} where the rule has no settings.",
            )
        shared = {f"{group}.{name}": each for group, inside in self.space.items() for name, each in inside.items()}
        return shared | {f"rule.{name}": each for name, each in self.rules[rule].items()}


DEFAULT: dict[str, Any] = {
    "trials": 20,
    "startup": 8,
    "space": {"training": {"lr": [0.002, 0.02, "log"], "spike_penalty": [0.0, 0.001, 0.003, 0.01, 0.03]}},
    "rules": {"stbp": {"surrogate_width": [0.5, 2.0, "log"]}, "bpsa": {}, "bpsta": {"alpha": [0.0, 0.5, "linear"]}},
}
"""What is searched where no file says otherwise; a rule that is not among these has no dimension of its own."""


def chosen_space(file: str | Path | None, method: str) -> Space:
    """The space in a file, or the default one; every dimension is checked for this method.

    Args:
        file: in the form of pipelines/tuning.yaml; None: the default.
        method: the learning rule.

    Raises:
        SettingsError: an unusable file, no space for the method, or a dimension that cannot be searched.
    """
    if file is None:
        space = validate(Space, DEFAULT | {"rules": {method: {}} | DEFAULT["rules"]}, where="the default space")
    else:
        try:
            space = validate(Space, documents.yaml(Path(file)), where=str(file))
        except (MissingError, UnreadableError) as broken:
            raise SettingsError(
                "unusable space of settings",
                expected="a file like pipelines/tuning.yaml",
                got=f"{file}: {broken.got}",
                todo="Check the path and the file.",
            ) from None
    for name, values in space.of(method).items():
        _check_dimension(name, values, method)
    return space


def _check_dimension(name: str, values: list[Any], method: str) -> None:
    group, _, key = name.partition(".")
    if group == "rule":
        own = [each.name for each in rules.settings_of(rules.find(method))]
        if key not in own:
            raise unknown_key(f"rules.{method}.{key}", own, "the space of settings")
    if key in FIXED.get(group, ()):
        raise SettingsError(
            "a setting that cannot be searched",
            expected="one that leaves all trials the same samples",
            got=name,
            todo="Leave it out of the space, and set it for all trials.",
        )
    numbers = [each for each in values[:2] if isinstance(each, int | float) and not isinstance(each, bool)]
    ranged = len(values) == 3 and values[2] in SCALES
    least = 0 if ranged and values[2] == "log" else float("-inf")
    if not values or (ranged and not (len(numbers) == 2 and least < numbers[0] <= numbers[1])):
        raise SettingsError(
            "unusable dimension of the space",
            expected=f"{name}: [low, high, log] with 0 < low <= high, [low, high, linear], or a list of values",
            got=str(values)[:80],
            todo=f"Correct {name}.",
        )
    for value in values if not ranged else ():
        if value is not None and not isinstance(value, str | int | float):
            raise SettingsError(
                "unusable dimension of the space",
                expected=f"{name}: numbers, words, true, false or null",
                got=str(value)[:80],
                todo=f"Correct {name}.",
            )


def distribution(values: list[Any]) -> Any:
    """Optuna's distribution of a dimension: a range [low, high, log|linear], or the values themselves."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if len(values) == 3 and values[2] in SCALES:
        low, high, scale = values
        kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
        return kind(low, high, log=scale == "log")
    return CategoricalDistribution(values)
