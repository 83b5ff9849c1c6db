"""The options of all commands, as options.txt beside this file lists them: none is lost or added unseen."""

from pathlib import Path
from typing import Any

import typer.main

from bpsta_cli.cli.main import app

LIST = Path(__file__).parent / "options.txt"


def described(parameter: Any) -> str:
    """One option or argument: its names, and whether it is a flag, takes a value or several."""
    names = "/".join([", ".join(parameter.opts), *parameter.secondary_opts])
    if getattr(parameter, "is_flag", False):
        return f"{names} (flag)"
    return f"{names} ({'values' if parameter.multiple or parameter.nargs != 1 else 'value'})"


def found() -> list[str]:
    group = typer.main.get_command(app)
    lines = [f"bpsta {described(each)}" for each in group.params]
    for name, command in group.commands.items():
        lines += [f"{name} {described(each)}" for each in command.params]
    return sorted(lines)


def test_the_options_of_all_commands_are_the_listed_ones():
    assert found() == LIST.read_text(encoding="utf-8").splitlines()
