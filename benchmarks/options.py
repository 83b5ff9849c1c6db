"""The options of `python -m benchmarks`, made from the fields of `Settings`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from typer.core import TyperCommand

from benchmarks.settings import QUICK, Settings, from_options

FLAGS = {"shape": "--input"}
"""Options that do not have the name of their field."""
NAMES = {int: "INTEGER", str: "TEXT"}


class ManyValues(TyperCommand):
    """A command whose options take several values, one after another: `--T 4 8`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line, each value with its option."""
        flags = {flag for option in self.params if getattr(option, "multiple", False) for flag in option.opts}
        return super().parse_args(ctx, list(repeated(args, flags)))


def repeated(arguments: Iterable[str], flags: set[str]) -> Iterator[str]:
    """`--T 4 8` as Typer reads it: `--T 4 --T 8`, for each of `flags`."""
    flag, values = "", 0
    for argument in arguments:
        if argument.startswith("--"):
            flag, values = argument, 0
        else:
            if flag in flags and values:
                yield flag
            values += 1
        yield argument


def application(work: Callable[[Settings], int]) -> typer.Typer:
    """The command line of `work`, which returns the exit status."""

    def command(quick: bool, **values: Any) -> None:
        given = {name: value for name, value in values.items() if value is not None}
        raise typer.Exit(work(from_options(given, quick=quick)))

    command.__signature__ = inspect.Signature(list(parameters()))  # type: ignore[attr-defined]
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    about = "Measure this package beside its ReLU twin, its convolutions alone and other packages."
    app.command(cls=ManyValues, help=about)(command)
    return app


def parameters() -> Iterator[inspect.Parameter]:
    """One for each field of `Settings`, None where it is not given, and --quick."""
    for name, field in Settings.model_fields.items():
        many = get_args(field.annotation)[1:] == (...,)
        option = typer.Option(
            FLAGS.get(name, f"--{name.replace('_', '-')}"),
            help=f"{_sentence(field.description)} (default: {_words(field.default)})",
            show_default=False,
            metavar=_metavar(field.annotation, many=many),
        )
        kept = list[str] | None if many else str | None
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kept, option])
    changes = ", ".join(f"{name.replace('_', '-')} {_words(value)}" for name, value in QUICK.items())
    quick = typer.Option("--quick", help=f"{changes}, where not given.", show_default=False)
    yield inspect.Parameter("quick", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, quick])


def _sentence(text: str | None) -> str:
    return f"{(text or '')[:1].upper()}{(text or '')[1:]}.".replace("; none:", "; none means")


def _words(value: Any) -> str:
    return " ".join(map(str, value)) or "none" if isinstance(value, tuple) else str(value) or "none"


def _metavar(annotation: Any, *, many: bool) -> str:
    """What stands for the value in the help; the schema checks it."""
    kind = get_args(annotation)[0] if many else annotation
    kind = get_args(kind)[0] if get_origin(kind) is Annotated else kind
    name = "|".join(filter(None, get_args(kind))) if get_origin(kind) is Literal else NAMES.get(kind, "CxHxW")
    return f"{name}..." if many else name
