"""CONTRIBUTING's recipe of a setting, done once: a field of the schema is an option with its words and limits."""

import pytest
from pydantic import Field

from bpsta_cli.cli.main import app, run
from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output
from bpsta_cli.cli.schema import Given, apply_overrides, section, with_settings
from bpsta_cli.config import TrainingSettings


class WithMomentum(TrainingSettings):
    """The settings of training, and one more."""

    momentum: float = Field(0.9, ge=0, lt=1, description="share of the last step that is taken again")


@with_settings(section("training", "Training", WithMomentum))
def show(given: Given, as_json: Json = False) -> None:
    """Settings as they are."""
    settings = apply_overrides("the options", WithMomentum, {}, given["training"])
    Output(as_json=as_json).result(settings.model_dump())


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setattr(app, "registered_commands", [*app.registered_commands])
    app.command("show")(show)


def test_a_setting_is_one_field(json_of):
    assert json_of("show")["momentum"] == 0.9
    found = json_of("show", "--momentum", 0.5, "--lr", 0.1)
    assert (found["momentum"], found["lr"]) == (0.5, 0.1)


def test_its_words_default_and_limits_are_written_once(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert run(["show", "--help"]) == 0
    assert "Share of the last step that is taken again. (default: 0.9; >= 0, < 1)" in capsys.readouterr().out
    assert run(["show", "--momentum", "1"]) == 2
    assert "momentum: Input should be less than 1" in capsys.readouterr().err
