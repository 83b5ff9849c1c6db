"""The settings that a command line of `bpsta train` comes to."""

from pathlib import Path
from typing import Any

from bpsta_cli import rules
from bpsta_cli.cli.schema import Given, apply_overrides
from bpsta_cli.config import (
    DatasetSettings,
    NeuronSettings,
    Params,
    RuleSettings,
    Run,
    RunSettings,
    TrainingSettings,
    load_params,
    validate,
)
from bpsta_cli.errors import SettingsError

WHERE = "the options"


def chosen_settings(
    params: Path | None, name: str | None, given: Given, pairs: list[str], *, or_else: str = ""
) -> RunSettings:
    """The settings of a params.yaml, of its line `name`, or of a data set's recipe, with the options on top.

    Args:
        params: the file; None: the recipe's settings.
        name: of a line of it; None: the data set is among the options.
        given: the options that were given, by section.
        pairs: settings of the learning rule as NAME=VALUE.
        or_else: what else the command takes in place of a data set, for its error.

    Raises:
        SettingsError: no data set or two, an unusable file, or settings that cannot be used.
    """
    study = load_params(params) if params else None
    line = _line(study, name)
    if ("dataset" not in given["run"]) == (line is None):
        raise SettingsError(
            "no data set" if line is None else "two data sets",
            expected="--dataset NAME, or --run NAME of --params" + (or_else if line is None else ""),
            got="none of them" if line is None else "both",
            todo="bpsta prepare --list shows all.",
        )
    return _settings(study, line, given, pairs)


def settings_of_run(run: Path, given: Given, pairs: list[str]) -> RunSettings:
    """The settings of the run in a directory, with the options on top.

    Raises:
        RunError: there is no run.
        SettingsError: settings that cannot be used.
    """
    from bpsta_cli.training.run_directory import RunDir

    own = RunDir(run).info().settings
    values = own.model_dump()
    method = given["run"].get("method", own.method)
    rule = values["rule"] if method == own.method else {}
    groups = {
        **{group: values[group] | given[group] for group in ("data", "neuron", "training")},
        "rule": rule | _rule_options(method, given["rule"], pairs),
    }
    return validate(RunSettings, values | given["run"] | groups, where=f"{WHERE} and {run}")


def _line(study: Params | None, name: str | None) -> Run | None:
    """The line of params.yaml that --run names."""
    if name is None:
        return None
    if study is None:
        raise SettingsError(
            "no file that names runs",
            expected="--params params.yaml beside --run",
            got="no --params",
            todo="Name the file.",
        )
    return study.run(name)


def _settings(params: Params | None, line: Run | None, given: Given, pairs: list[str]) -> RunSettings:
    """The file's settings (else the recipe's), with the options that were given on top."""
    run = given["run"] if line is None else line.model_dump(exclude={"recipe"}) | given["run"]
    named = run.get("method", RunSettings.model_fields["method"].default)
    variant = params.variants.get(named) if params else None
    method = named if variant is None else variant.method
    name = line.recipe if line is not None else run["dataset"]
    neuron, training, rule = (
        (params.neuron, params.training_of(named), params.rule_of(named))
        if params
        else (NeuronSettings(), TrainingSettings(), {})
    )
    data = params.recipe_of(name) if params else _recipe(name, given["data"])
    groups = {
        "data": apply_overrides(WHERE, DatasetSettings, data.model_dump(), given["data"]),
        "neuron": apply_overrides(WHERE, NeuronSettings, neuron.model_dump(), given["neuron"]),
        "rule": rule | _rule_options(method, given["rule"], pairs),
        "training": apply_overrides(WHERE, TrainingSettings, training.model_dump(), given["training"]),
    }
    own = {} if variant is None else {"method": method, "variant": named}
    return validate(RunSettings, run | own | groups, where=WHERE)


def _recipe(dataset: str, given: dict[str, Any]) -> DatasetSettings:
    from bpsta_cli.data.presets import preset

    return preset(dataset, epochs=given.get("epochs"), source=given.get("source"))


def _rule_options(method: str, given: RuleSettings, pairs: list[str]) -> RuleSettings:
    """The options that set something of the learning rule, --alpha and the like and each NAME=VALUE, by setting.

    Raises:
        SettingsError: a setting that the method does not have, or that is given twice; no NAME=VALUE.
    """
    options = {name: f"--{name.replace('_', '-')}" for name in given}
    values = dict(given)
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign or name in values:
            raise SettingsError(
                "unusable option",
                expected="--rule-option NAME=VALUE, each NAME once",
                got=f"{name} twice" if name in values else repr(pair),
                todo="Correct it.",
            )
        options[name], values[name] = f"--rule-option {name}", value
    if not values or (method != rules.TWIN and method not in rules.names() and not method.endswith(".py")):
        return values  # an unknown method is refused by itself
    own = set() if method == rules.TWIN else {each.name for each in rules.settings_of(rules.find(method))}
    for name, option in options.items():
        if name not in own:
            raise SettingsError(
                f"{option} is no option of method {method}",
                expected=" or ".join(f"--method {each}" for each in rules.rules_with(name))
                or (f"one of {', '.join(sorted(own))}" if own else "none: it has no settings"),
                got=f"--method {method}",
                todo=f"Leave {option} out; bpsta rules lists what each rule takes.",
            )
    return values
