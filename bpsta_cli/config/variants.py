"""Variants: a learning rule with settings of its own, under a name that stands where a method does."""

import re
from typing import Any

from pydantic import Field, ValidationInfo

from bpsta_cli import rules
from bpsta_cli.config.rule_settings import RuleSettings, settings_of_method
from bpsta_cli.config.run_settings import TrainingSettings
from bpsta_cli.config.validation import NAME, Strict, place_of, unknown_key, validate
from bpsta_cli.errors import SettingsError, did_you_mean


class Variant(Strict):
    """One entry of `variants` in params.yaml; what it does not say is as for every other run of its rule."""

    method: str = Field(description="the learning rule")
    rule: RuleSettings = Field({}, description="settings of the rule, in place of those under methods")
    training: dict[str, Any] = Field({}, description="settings of training, in place of the study's")


def checked(variants: dict[str, Variant], training: TrainingSettings, info: ValidationInfo) -> dict[str, Variant]:
    """The same variants, each held against what may stand in it.

    Raises:
        SettingsError: a name that is none or another rule's, a method that is no rule, or a setting that the rule or
            training does not have or take.
    """
    where = place_of(info)
    for name, variant in variants.items():
        _check_name(name, variant.method, where)
        settings_of_method(variant.method, variant.rule, f"variants.{name}.rule", info)
        merged_training(training, variant, name, where)
    return variants


def merged_training(training: TrainingSettings, variant: Variant, name: str, where: str) -> TrainingSettings:
    """The study's settings of training with the variant's on top.

    Raises:
        SettingsError: a setting that training does not have, or a value that it does not take.
    """
    for key in variant.training:
        if key not in TrainingSettings.model_fields:
            raise unknown_key(f"variants.{name}.training.{key}", TrainingSettings.model_fields, where)
    values = training.model_dump() | variant.training
    return validate(TrainingSettings, values, where=f"{where}, variants.{name}.training")


def _check_name(name: str, method: str, where: str) -> None:
    if not re.fullmatch(NAME, name):
        raise SettingsError(
            f"unusable name in {where}",
            expected="variants: small letters, digits and single hyphens, as it becomes part of paths",
            got=repr(name)[:80],
            todo="Rename it, and the method of its runs.",
        )
    if method not in rules.names():
        raise SettingsError(
            f"unknown rule in {where}",
            expected=f"variants.{name}.method: one of {', '.join(rules.names())}",
            got=repr(method)[:80],
            todo=did_you_mean(method, rules.names(), otherwise="Name the rule that it is a variant of."),
        )
    if name != method and name in (*rules.names(), rules.TWIN):
        raise SettingsError(
            f"misleading name in {where}",
            expected=f"variants: a name of its own, or that of its rule ({method})",
            got=name,
            todo="Rename it.",
        )
