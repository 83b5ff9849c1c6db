"""Settings as options: generated from the schema (config) and from the rules' own settings, each written there once.

    @with_settings(section("neuron", "Neuron", NeuronSettings), section("training", "Training", TrainingSettings))
    def train(given: Given, ...): ...

`given` then holds the options that were on the command line, by section: {"neuron": {}, "training": {"lr": 0.001}}.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from bpsta_cli import config, rules
from bpsta_cli.rules.settings import LIMITS

Given = dict[str, dict[str, Any]]
SCALARS = (int, float, bool, str)
PATHS = ("source", "init_from")
"""Texts that are paths: a shell completes them as such."""
WIDEST = 12
"""Characters of a value's place in the help; longer lists of words stand in the text, so that 80 columns hold it."""


@dataclass(frozen=True)
class Option:
    """One setting, as the command line shows it.

    Attributes:
        name: of the setting; the option's is made from it.
        kind: int, float, bool or str.
        description: what it is.
        default: the value where the option is not given, in words; empty: there is none.
        limits: of its values, such as ">= 1".
        choices: the only values, where there are such.
        methods: the learning rules that have it; none: it is of no rule.
    """

    name: str
    kind: type
    description: str
    default: str
    limits: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def parameter(self, panel: str) -> inspect.Parameter:
        """The parameter that Typer makes the option from; None stands for "not given"."""
        flag = self.name.replace("_", "-")
        text = self.description.replace("; none:", "; none means")
        words = "|".join(self.choices)
        notes = [f"method {' or '.join(self.methods)}"] if self.methods else []
        notes += [f"default: {self.default}"] if self.default else []
        notes += ["one of " + ", ".join(self.choices)] if len(words) > WIDEST else []
        notes += [", ".join(self.limits)] if self.limits else []
        option = typer.Option(
            f"--{flag}/--no-{flag}" if self.kind is bool else f"--{flag}",
            help=f"{text[:1].upper()}{text[1:]}." + (f" ({'; '.join(notes)})" if notes else ""),
            show_default=False,
            metavar="WORD" if len(words) > WIDEST else words or None,
            autocompletion=COMPLETIONS.get(self.name),
            rich_help_panel=panel,
        )
        kind: Any = Path if self.name in PATHS else self.kind
        return inspect.Parameter(
            self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
        )


@dataclass(frozen=True)
class Section:
    """Options that belong together.

    Attributes:
        name: the key of `Given`.
        title: what the help calls them.
        options: in the order of the help.
    """

    name: str
    title: str
    options: tuple[Option, ...]

    def without(self, *names: str) -> "Section":
        """The same without these options."""
        return replace(self, options=tuple(option for option in self.options if option.name not in names))

    def only(self, *names: str) -> "Section":
        """The same with these options alone."""
        return replace(self, options=tuple(option for option in self.options if option.name in names))


def section(name: str, title: str, model: type[BaseModel]) -> Section:
    """The fields of a settings class that are one value each."""
    fields = model.model_fields.items()
    return Section(name, title, tuple(_option(key, field) for key, field in fields if _kind(field) is not None))


def rule_section(title: str) -> Section:
    """The settings of all registered rules; those of one name are one option."""
    found = {each.name: each for name in rules.names() for each in rules.settings_of(rules.find(name))}
    options = (
        Option(
            name,
            each.kind,
            each.description,
            str(each.default).lower(),
            tuple(f"{LIMITS[limit][0]} {value}" for limit, value in each.limits.items()),
            each.choices,
            rules.rules_with(name),
        )
        for name, each in found.items()
    )
    return Section("rule", title, tuple(options))


def with_settings(
    *sections: Section, first: Sequence[str] = (), panels: Mapping[str, Sequence[str]] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of a command whose first argument takes the options of these sections that were given.

    Args:
        sections: whose options are made.
        first: parameters that the help shows before all others, in this order, under no title of their own.
        panels: title of the help -> the parameters under it, in this order; for those that are not to stand in their
            section's panel.
    """
    order = [*first, *(name for names in (panels or {}).values() for name in names)]
    titles: dict[str, str | None] = {name: title for title, names in (panels or {}).items() for name in names}
    titles |= dict.fromkeys(first)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def called(**values: Any) -> None:
            given = {each.name: _given(values, each.options) for each in sections}
            command(given, **values)

        own = list(inspect.signature(command).parameters.values())[1:]
        own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
        generated = [option.parameter(each.title) for each in sections for option in each.options]
        shown = [_in_panel(each, titles[each.name]) if each.name in titles else each for each in (*own, *generated)]
        shown.sort(key=lambda each: order.index(each.name) if each.name in order else len(order))
        # what Typer reads, in place of the command's own
        signature = inspect.Signature(shown)
        called.__signature__ = signature  # type: ignore[attr-defined]
        called.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return called

    return decorate


def _in_panel(parameter: inspect.Parameter, title: str | None) -> inspect.Parameter:
    """The same option under another title of the help; options are shared by commands, so that this one is a copy."""
    kind, option = get_args(parameter.annotation)
    moved = copy.copy(option)
    moved.rich_help_panel = title
    return parameter.replace(annotation=Annotated[kind, moved])


def apply_overrides(where: str, model: type[config.Model], base: dict[str, Any], given: dict[str, Any]) -> config.Model:
    """`base` with the options that were given on top, checked."""
    return config.validate(model, base | given, where=where)


def _given(values: dict[str, Any], options: Sequence[Option]) -> dict[str, Any]:
    """The options of one section that were given, taken out of `values`."""
    taken = {option.name: values.pop(option.name) for option in options}
    return {
        name: str(value) if isinstance(value, Path) else value for name, value in taken.items() if value is not None
    }


def _option(name: str, field: FieldInfo) -> Option:
    default = "the data set's recipe" if name in config.RECIPE else ""
    if not default and not field.is_required():
        default = "none" if field.default is None else str(field.default).lower()
    limits = [
        f"{sign} {getattr(each, limit)}"
        for each in field.metadata
        for limit, (sign, _) in LIMITS.items()
        if hasattr(each, limit)
    ]
    kind = _kind(field)
    assert kind is not None
    return Option(name, kind, field.description or "", default, tuple(limits), _choices(field))


def _kind(field: FieldInfo) -> type | None:
    """int, float, bool or str; None for a field that holds more than one value."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        if _choices(field):  # a number or a word: the schema reads either from text
            return str
        kind = next(each for each in get_args(kind) if each is not type(None))
    if get_origin(kind) is Literal:
        return str
    return kind if kind in SCALARS else None


def _choices(field: FieldInfo) -> tuple[str, ...]:
    """The words that a field may be; NUMBER before them where it may be a number too."""
    kind: Any = field.annotation
    parts = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    words = tuple(word for part in parts if get_origin(part) is Literal for word in get_args(part))
    return ("NUMBER", *words) if words and int in parts else words


def _dataset_names() -> list[str]:
    from bpsta_cli.data import catalogue

    return list(catalogue.names())


def _method_names() -> list[str]:
    return [*rules.names(), rules.TWIN]


COMPLETIONS: dict[str, Callable[[], list[str]]] = {"dataset": _dataset_names, "method": _method_names}
