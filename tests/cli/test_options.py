"""The options of all commands, as options.txt beside this file lists them: none is lost or added unseen."""

from pathlib import Path
from typing import Any

import typer.main

from bpsta_cli.cli.main import app, run
from bpsta_cli.config import DatasetSettings, NeuronSettings, TrainingSettings

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


def test_a_paragraph_of_the_help_is_broken_by_the_terminals_width_alone():
    for name, command in typer.main.get_command(app).commands.items():
        assert command.help, name
        assert "\n" not in command.help.replace("\n\n", ""), name


def test_every_setting_of_a_run_is_an_option_of_train_under_its_own_name():
    fields = {"dataset", "method", "T", "seed", "init_from"}
    for model in (DatasetSettings, NeuronSettings, TrainingSettings):
        fields |= model.model_fields.keys()
    names = {line.split()[1].split("/")[0] for line in found() if line.startswith("train ")}
    assert {f"--{field.replace('_', '-')}" for field in fields} <= names


def test_an_option_says_the_schemas_words_default_and_limits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    assert run(["train", "--help"]) == 0
    text = capsys.readouterr().out
    assert "Peak learning rate of AdamW. (default: 0.006; > 0)" in text
    assert "Passes over the training part, warm-up included. (default: the data set's recipe; >= 1)" in text
    assert "Largest norm of the whole gradient; none means no limit. (default: none; > 0)" in text
    assert "Share of neurons that a DP token silences. (default: 0.5; >= 0, < 1)" in text
    assert "cosine|sgdr" in text
    assert "NUMBER|all" in text
    assert "default: float32; one of float32, bfloat16, float16" in text


def test_the_help_of_train_shows_the_common_ten_first_and_then_groups_in_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run(["train", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    titles = [line.split()[1] for line in lines if line.startswith("╭─")]
    assert titles == ["Options", "Data", "Network", "Neuron", "Learning", "Training", "Switches", "Run"]
    end = next(at for at, line in enumerate(lines) if line.startswith("╰─"))
    first = [line.split()[1] for line in lines[:end] if line.startswith("│ --")]
    common = ["dataset", "T", "method", "network", "epochs", "batch-size", "lr", "seed", "device", "out", "help"]
    assert first == [f"--{name}" for name in common]
    assert max(map(len, lines)) <= 80
    assert sum("…" in line for line in lines) <= 1, "at most one name of an option is cut"
