"""The settings of a learning rule: the fields of its dataclass, with their limits and words. Loads no torch.

    leak: float = setting(0.1, "spikes per unit of potential where a neuron did not fire", ge=0)

is all that a rule says of one. The check on construction, `bpsta rules`, `--rule-option leak=0.2`, `methods` in
params.yaml and the record in settings.json follow from it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
import operator
import typing
from collections.abc import Callable, Mapping
from typing import Any

from bpsta_cli.errors import SettingsError, did_you_mean

Value = float | int | bool | str
KINDS: dict[type, str] = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}
"""What a setting may be, and how an error names it."""
LIMITS: dict[str, tuple[str, Callable[[Any, float], bool]]] = {
    "gt": (">", operator.gt),
    "ge": (">=", operator.ge),
    "lt": ("<", operator.lt),
    "le": ("<=", operator.le),
}
TRUTH = {"true": True, "false": False}


def setting(
    default: Value,
    description: str,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """A field of a rule's dataclass; its annotation, float, int, bool or str, says what values are.

    Args:
        default: the value where none is given.
        description: what it is, with its unit.
        gt: values are greater than this.
        ge: values are this or greater.
        lt: values are less than this.
        le: values are this or less.
        choices: the only values, of a str.
    """
    limits = {name: limit for name, limit in (("gt", gt), ("ge", ge), ("lt", lt), ("le", le)) if limit is not None}
    metadata = {"description": description, "limits": limits, "choices": choices}
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Setting:
    """One setting of a rule.

    Attributes:
        name: of the field.
        kind: float, int, bool or str.
        default: its value where none is given.
        description: what it is.
        limits: "gt", "ge", "lt" or "le" -> the limit.
        choices: the only values; none: any.
    """

    name: str
    kind: type
    default: Value
    description: str
    limits: Mapping[str, float]
    choices: tuple[str, ...]

    @property
    def values(self) -> str:
        """The values it takes: "a finite number >= 0", "one of rectangular, sigmoid"."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        limits = " and ".join(f"{LIMITS[name][0]} {limit}" for name, limit in self.limits.items())
        return f"{KINDS[self.kind]} {limits}".strip()

    def check(self, value: object) -> Value:
        """`value` in the setting's own kind.

        Raises:
            SettingsError: it is of another kind, out of the limits or none of the choices.
        """
        if self.kind is float and type(value) is int:
            value = float(value)
        if isinstance(value, self.kind) and not (isinstance(value, bool) and self.kind is not bool):
            within = all(LIMITS[name][1](value, limit) for name, limit in self.limits.items())
            finite = self.kind is not float or math.isfinite(typing.cast(float, value))
            if within and finite and (not self.choices or value in self.choices):
                return typing.cast(Value, value)
        otherwise = f"The default is {self.default}."
        raise SettingsError(
            f"{'unknown' if self.choices else 'unusable'} {self.name}",
            expected=self.values,
            got=repr(value),
            todo=did_you_mean(str(value), self.choices, otherwise=otherwise),
        )

    def read(self, value: object) -> Value:
        """`value` as a command line or a YAML file gives it: "0.2", "1e-4" and "true" are read as what they say.

        Raises:
            SettingsError: as `check`.
        """
        if isinstance(value, str) and self.kind is not str:
            with contextlib.suppress(KeyError, ValueError):  # `check` refuses the text as it was given
                value = TRUTH[value.lower()] if self.kind is bool else self.kind(value)
        return self.check(value)


@functools.cache
def settings_of(rule: type) -> tuple[Setting, ...]:
    """The settings of a rule's class, in the order of its fields.

    Raises:
        SettingsError: a field without a default, or of another kind than a setting may be.
    """
    kinds = typing.get_type_hints(rule)
    return tuple(_setting(rule, field, kinds[field.name]) for field in dataclasses.fields(rule))


def _setting(rule: type, field: dataclasses.Field[Any], kind: Any) -> Setting:
    if kind not in KINDS or field.default is dataclasses.MISSING:
        raise SettingsError(
            f"unusable setting {field.name} of rule {rule.__name__}",
            expected="an annotation float, int, bool or str, and a default",
            got=f"{field.name}: {getattr(kind, '__name__', kind)}"
            + (" without a default" if field.default is dataclasses.MISSING else ""),
            todo=f'Write {field.name}: float = rules.setting(0.1, "what it is").',
        )
    metadata = field.metadata
    return Setting(
        field.name,
        kind,
        field.default,
        metadata.get("description", ""),
        metadata.get("limits", {}),
        metadata.get("choices", ()),
    )
