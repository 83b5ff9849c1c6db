"""What a search tries: settings and their ranges, the block `search` of params.yaml."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from bpsta_cli import rules
from bpsta_cli.config.run_settings import DatasetSettings, StoreSettings, TrainingSettings
from bpsta_cli.config.validation import Strict, place_of, unknown_key
from bpsta_cli.errors import SettingsError

SCALES = ("log", "linear")
GROUPS: dict[str, type[Strict]] = {"training": TrainingSettings, "data": DatasetSettings}
FIXED = {
    "training": ("selection", "validation_fraction", "evaluate_every"),
    "data": (*StoreSettings.model_fields, "train_samples"),
}
"""What decides on which samples a trial is told by: trials that differ in it are not compared."""
Dimensions = dict[str, list[Any]]
"""Setting -> [low, high, log], [low, high, linear], or the values themselves."""


class Space(Strict):
    """What is searched, and for how long."""

    trials: int = Field(20, ge=1, description="of every method")
    startup: int = Field(8, ge=1, description="of them drawn at random")
    seed: int = Field(0, ge=0)
    space: dict[Literal["training", "data"], Dimensions] = Field(description="settings of every method")
    rules: dict[str, Dimensions] = Field(description="rule -> settings of its own")

    @field_validator("space")
    @classmethod
    def _are_settings(cls, space: dict[str, Dimensions], info: ValidationInfo) -> dict[str, Dimensions]:
        for group, settings in space.items():
            for name, values in settings.items():
                key = f"space.{group}.{name}"
                if name not in GROUPS[group].model_fields:
                    raise unknown_key(key, GROUPS[group].model_fields, place_of(info))
                if name in FIXED[group]:
                    raise SettingsError(
                        f"a setting that cannot be searched in {place_of(info)}",
                        expected="one that leaves all trials the same samples",
                        got=key,
                        todo="Leave it out of the space, and set it for all trials.",
                    )
                _check_dimension(key, values, place_of(info))
        return space

    @field_validator("rules")
    @classmethod
    def _are_settings_of_the_rules(cls, own: dict[str, Dimensions], info: ValidationInfo) -> dict[str, Dimensions]:
        for rule in own.keys() & set(rules.names()):  # another one may be a rule of the user's own, run later
            _check_rule(rule, own[rule], place_of(info))
        return own

    def of(self, rule: str) -> Dimensions:
        """The dimensions for a rule: "training.lr", "rule.alpha" and so on.

        Raises:
            SettingsError: no space for the rule, or a setting that the rule does not have.
        """
        if rule not in self.rules:
            raise SettingsError(
                "a rule without a space",
                expected=f"rules.{rule} in the space of settings",
                got=", ".join(self.rules) or "none",
                todo="Add it; {} where the rule has no settings.",
            )
        _check_rule(rule, self.rules[rule], "the space of settings")
        shared = {f"{group}.{name}": each for group, inside in self.space.items() for name, each in inside.items()}
        return shared | {f"rule.{name}": each for name, each in self.rules[rule].items()}


def _check_rule(rule: str, dimensions: Dimensions, where: str) -> None:
    own = [each.name for each in rules.settings_of(rules.find(rule))]
    for name, values in dimensions.items():
        if name not in own:
            raise unknown_key(f"rules.{rule}.{name}", own, where)
        _check_dimension(f"rules.{rule}.{name}", values, where)


def _check_dimension(key: str, values: list[Any], where: str) -> None:
    numbers = [each for each in values[:2] if isinstance(each, int | float) and not isinstance(each, bool)]
    ranged = len(values) == 3 and values[2] in SCALES
    least = 0 if ranged and values[2] == "log" else float("-inf")
    if not values or (ranged and not (len(numbers) == 2 and least < numbers[0] <= numbers[1])):
        raise SettingsError(
            f"unusable dimension in {where}",
            expected=f"{key}: [low, high, log] with 0 < low <= high, [low, high, linear], or a list of values",
            got=str(values)[:80],
            todo=f"Correct {key}.",
        )
    for value in values if not ranged else ():
        if value is not None and not isinstance(value, str | int | float):
            raise SettingsError(
                f"unusable dimension in {where}",
                expected=f"{key}: numbers, words, true, false or null",
                got=str(value)[:80],
                todo=f"Correct {key}.",
            )
