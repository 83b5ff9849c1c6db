"""Which space a search has: a file's, the study's or the default; and Optuna's form of it."""

from pathlib import Path
from typing import Any

from bpsta_cli.config import Params, RunSettings, Space, validate
from bpsta_cli.config.space import SCALES
from bpsta_cli.errors import SettingsError
from bpsta_cli.reading import MissingError, UnreadableError, documents

DEFAULT: dict[str, Any] = {
    "space": {"training": {"lr": [0.002, 0.02, "log"], "spike_penalty": [0.0, 0.001, 0.003, 0.01, 0.03]}},
    "rules": {"stbp": {"surrogate_width": [0.5, 2.0, "log"]}, "bpsa": {}, "bpsta": {"alpha": [0.0, 0.5, "linear"]}},
}
"""What is searched where no file says otherwise; a rule that is not among these has no dimension of its own."""


def chosen_space(file: str | Path | None, study: Params | None, method: str) -> Space:
    """The space in a file, else that of the study, else the default one; it has what this method needs.

    Args:
        file: in the form of the block `search` of params.yaml; None: there is none.
        study: the params.yaml that was named; None: none was.
        method: the learning rule.

    Raises:
        SettingsError: an unusable file, no space for the method, or a dimension that cannot be searched.
    """
    if file is not None:
        space = read_space(file)
    elif study is not None and study.search is not None:
        space = study.search
    else:
        space = validate(Space, DEFAULT | {"rules": {method: {}} | DEFAULT["rules"]}, where="the default space")
    space.of(method)  # which refuses a method that the space has nothing for
    return space


def read_space(file: str | Path) -> Space:
    """The space in a file of its own.

    Raises:
        SettingsError: an unusable file, or a dimension that cannot be searched.
    """
    try:
        return validate(Space, documents.yaml(Path(file)), where=str(file))
    except (MissingError, UnreadableError) as broken:
        raise SettingsError(
            "unusable space of settings",
            expected="a file in the form of the block search of params.yaml (docs/tuning.md)",
            got=f"{file}: {broken.got}",
            todo="Check the path and the file.",
        ) from None


def check_values(space: Space, base: RunSettings) -> None:
    """Refuse a value that its setting cannot have, before anything is trained; of a range both ends are tried.

    Values that do not go together with others are left: a trial with others may have them.

    Raises:
        SettingsError: there is one.
    """
    for key, values in space.of(base.method).items():
        group, _, name = key.partition(".")
        for value in values[:2] if _is_range(values) else values:
            settings = base.model_dump()
            settings[group] |= {name: value}
            try:
                validate(RunSettings, settings, where="the space of settings")
            except SettingsError as refused:
                if group == "rule" or refused.expected.startswith((f"{key}:", f"{key}.")):
                    todo = "Correct it in the space; a range is [low, high, log] or [low, high, linear]."
                    raise SettingsError(
                        f"a value that {key} cannot have", expected=refused.expected, got=repr(value), todo=todo
                    ) from None


def _is_range(values: list[Any]) -> bool:
    return len(values) == 3 and values[2] in SCALES


def distribution(values: list[Any]) -> Any:
    """Optuna's distribution of a dimension: a range [low, high, log|linear], or the values themselves."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if _is_range(values):
        low, high, scale = values
        kind = IntDistribution if isinstance(low, int) and isinstance(high, int) else FloatDistribution
        return kind(low, high, log=scale == "log")
    return CategoricalDistribution(values)
