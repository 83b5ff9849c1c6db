"""Values held against the schema: the first problem becomes an error that names its key and what to do."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo

from bpsta_cli.errors import SettingsError, did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Model = TypeVar("Model", bound=BaseModel)
NAME = r"[a-z0-9]+(-[a-z0-9]+)*"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
"""Small letters, digits and hyphens: it becomes part of paths and of DVC's keys, where a dot separates."""
RENAMED = {"cells": "measured", "trained": "train_only", "settings": "recipe"}
"""Keys of an older params.yaml, and what they are called now."""


class Strict(BaseModel):
    """Unknown keys are errors: a misspelt key must never pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def place_of(info: ValidationInfo) -> str:
    """What `validate` was told of where the values stand, for a validator's own errors."""
    return str((info.context or {}).get("where", "the settings"))


def validate(model: type[Model], values: Any, *, where: str) -> Model:
    """Check `values` against `model`; the first problem becomes a SettingsError that names its key."""
    try:
        return model.model_validate(values, context={"where": where})
    except ValidationError as invalid:
        raise _explain(invalid, model, where) from None


def _explain(invalid: ValidationError, model: type[BaseModel], where: str) -> SettingsError:
    errors = invalid.errors(include_url=False)
    # a renamed key is missing under its new name too, which the reader would be told first
    first = next((error for error in errors if _new_name(error, model)), errors[0])
    key = ".".join(str(part) for part in first["loc"]) or "the whole"
    if first["type"] == "extra_forbidden":
        siblings = _keys_beside(model, tuple(str(part) for part in first["loc"][:-1]))
        return unknown_key(key, siblings, where, renamed=_new_name(first, model))
    wanted = first["msg"].removeprefix("Value error, ")
    if not first["loc"] and first["type"] == "value_error":  # of several keys together
        problem = f"values in {where} that do not go together"
        return SettingsError(problem, expected=wanted, got="others", todo="Correct them.")
    return SettingsError(
        f"unusable value in {where}",
        expected=f"{key}: {wanted}",
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


def unknown_key(key: str, siblings: Iterable[str], where: str, *, renamed: str | None = None) -> SettingsError:
    """The error for a key that the schema does not have; `renamed` is what an older one is called now."""
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
