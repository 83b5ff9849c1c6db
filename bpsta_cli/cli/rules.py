"""`bpsta rules`: the learning rules, and what can be set of each."""

import inspect
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bpsta_cli import rules as registry
from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output


def rules(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RULE]...",
            help="Explain these rules in full: names, or files with a rule of your own. (default: list all)",
            show_default=False,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the learning rules and their settings: for --rule-option, and for methods in params.yaml."""
    output = Output(as_json=as_json)
    found = {name: registry.find(name) for name in names or registry.names()}
    for rule in found.values():
        output.say(f"{rule.name}: {_about(rule, whole=bool(names))}")
    output.table(
        "Settings",
        ["rule", "setting", "default", "values", "what it is"],
        [
            [rule.name, each.name, str(each.default).lower(), each.values, each.description]
            for rule in found.values()
            for each in registry.settings_of(rule)
        ],
    )
    output.result({"rules": [_described(name, rule) for name, rule in found.items()]})


def _about(rule: type[registry.Rule], *, whole: bool) -> str:
    """What the class says of itself: all of it, or its first paragraph on one line."""
    text = inspect.getdoc(rule) or ""
    return text if whole else " ".join(text.partition("\n\n")[0].split())


def _described(given: str, rule: type[registry.Rule]) -> dict[str, Any]:
    """One rule for machines; `file` is the path that it was asked for by, None for a rule by name."""
    settings = [
        asdict(each) | {"kind": each.kind.__name__, "values": each.values} for each in registry.settings_of(rule)
    ]
    file = given if given.endswith(".py") else None
    return {"name": rule.name, "file": file, "about": inspect.getdoc(rule), "settings": settings}
