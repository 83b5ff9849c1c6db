"""CONTRIBUTING's recipe of a command, done once."""

import inspect
from pathlib import Path
from typing import Annotated

import pytest
import typer

from bpsta_cli.cli.main import app
from bpsta_cli.cli.main import run as command_line
from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output
from bpsta_cli.errors import RunError


def size(
    run: Annotated[Path, typer.Argument(help="Run directory.")],
    as_json: Json = False,
) -> None:
    """Bytes of a run's weights."""
    output, file = Output(as_json=as_json), run / "model.safetensors"
    if not file.is_file():
        raise RunError("no weights", expected="a finished run", got=str(run), todo="Finish the training.")
    output.say(f"{file.stat().st_size:,} bytes")
    output.result({"bytes": file.stat().st_size})


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    app.command("size")(size)


def test_a_command_is_one_function_and_its_registration(registered, train, json_of, capsys):
    run = train()
    assert json_of("size", run) == {"bytes": (run / "model.safetensors").stat().st_size}
    assert command_line(["--help"]) == 0
    assert inspect.getdoc(size) in capsys.readouterr().out
    assert command_line(["size", str(run / "nowhere")]) == 2
    assert "no weights: expected a finished run" in capsys.readouterr().err
