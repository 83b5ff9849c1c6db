"""Numbers and texts of the command line that no option accepts."""

import re
from pathlib import Path

import fuzzing
import pytest
import typer.main

from bpsta_cli.cli.main import app, run
from bpsta_cli.errors import LINE

LONG = "x" * 40_000
NUMBERS = ("nan", "inf", "-inf", "1e309", "9" * 5000, "-1", "", " ", "0x10", "1,5", "--", "one", LONG, "\udcff", "1\n2")
WORDS = ("", LONG, "\udcff\udcfe", "\x1b[31mred", "a\nb\nc\nd", "../" * 2000, "$(touch broken)", "nowhere")
STOP = ["--device", "nowhere9"]
"""A device that there is not: what accepts all else ends there, before it computes."""
BASE = {
    "prepare": ["--dataset", "digits", "--source", "nowhere"],
    "train": ["--dataset", "digits", *STOP],
    "eval": ["nowhere", *STOP],
    "energy": ["nowhere", *STOP],
    "latency": ["nowhere", *STOP],
    "export": ["nowhere", "--format", "nir"],
    "tune": ["--dataset", "digits", *STOP],
    "verify": ["nowhere", *STOP],
    "compare": ["nowhere"],
    "report": ["--results", "nowhere"],
    "share": ["nowhere"],
    "rules": [],
}


def refusal(capsys, arguments):
    """The error of a command line that is refused in the house's shape: exit code 2, three lines, no traceback."""
    capsys.readouterr()
    assert run(arguments) == 2
    printed = capsys.readouterr()
    lines = printed.err.rstrip("\n").split("\n")
    assert printed.out == ""
    assert printed.err.startswith("Error: ")
    assert len(lines) <= 3
    assert all(len(line) <= LINE and line.isprintable() for line in lines)
    return printed.err


def options(*kinds):
    """Every option that takes values of these types, as (command, option)."""
    return [
        (name, each.opts[0])
        for name, command in typer.main.get_command(app).commands.items()
        for each in command.params
        if each.opts[0].startswith("--") and not each.is_flag and each.type_descriptor.annotation in kinds
        if each.name not in ("device", "out")
        if name != "doctor"  # which tells of any folder what is wrong with it
    ]


@pytest.mark.parametrize(("command", "option"), options(int, float))
def test_a_number_that_is_none_is_refused_with_its_option(command, option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in fuzzing.some(NUMBERS, option):
        said = refusal(capsys, [command, *BASE[command], f"{option}={value}"])
        assert "nowhere" not in said, f"{option} accepts {value[:40]!r}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "option"), options(str, Path))
def test_a_text_that_is_none_is_refused(command, option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for value in fuzzing.some(WORDS, option):
        refusal(capsys, [command, *BASE[command], f"{option}={value}"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("word", WORDS)
def test_doctor_tells_of_any_folder_and_does_not_break(word, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["doctor", f"--data-dir={word}"]) in (0, 1, 2)
    assert "Traceback" not in "".join(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["eval", "energy", "latency", "train", "fly", LONG, "\udcff", ""])
def test_a_long_or_strange_word_is_no_command_and_no_run(command, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in WORDS:
        said = refusal(capsys, [command, word])
        assert not re.search(r"x{400}", said)
    assert list(tmp_path.iterdir()) == []
