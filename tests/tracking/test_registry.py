"""Loggers by name and by file, and what is said where one cannot be had."""

import importlib.util
from pathlib import Path

import pytest

from bpsta_cli import tracking
from bpsta_cli.cli.main import run
from bpsta_cli.errors import SettingsError
from bpsta_cli.tracking import registry

TINY = ["train", "--dataset", "digits", "--T", "1", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--threads", "1"]
OWN = """
from bpsta_cli import tracking


@tracking.register
class Lines:
    name = "lines"

    def start(self, run):
        run.logs.mkdir(exist_ok=True)
        self.file = run.logs / "lines.txt"
        self.file.write_text("")
        for row in run.rows:
            self.epoch(row)

    def epoch(self, row):
        with self.file.open("a") as file:
            file.write(f"{row.epoch} {sorted(row.scalars)[0]}\\n")

    def finish(self, end):
        with self.file.open("a") as file:
            file.write(end.state)
"""


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch):
    monkeypatch.setattr(registry, "_loggers", dict(registry._loggers))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder


def test_the_loggers_of_the_package_are_known_by_their_names():
    assert tracking.names() == ("csv", "dvclive", "tensorboard", "mlflow", "wandb")


def test_a_logger_of_ones_own_is_a_file_that_the_command_names(tmp_path, data, capsys):
    (tmp_path / "lines.py").write_text(OWN)
    out = tmp_path / "run"
    places = ["--data-dir", str(data), "--out", str(out), "--log", str(tmp_path / "lines.py"), "--log", "csv"]
    assert run([*TINY, *places]) == 0
    assert (out / "logs" / "lines.txt").read_text() == "0 accuracy\n1 accuracy\nfinished"


def test_the_example_of_the_page_is_a_logger(tmp_path, capsys):
    page = (Path(__file__).parents[2] / "docs" / "logging.md").read_text()
    (tmp_path / "bell.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    bell = tracking.make(str(tmp_path / "bell.py"))
    bell.start(tracking.Started("run", tmp_path, {}, (tracking.Row(0, "twin", {"accuracy": 0.5}),)))
    for epoch, accuracy in ((1, 0.4), (2, 0.75)):
        bell.epoch(tracking.Row(epoch, "spiking", {"accuracy": accuracy}))
    bell.finish(tracking.Ended("finished", {"accuracy": 0.75}))
    assert capsys.readouterr().out == "\aepoch 2: 0.7500\nfinished 0.75\n"


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "0 loggers registered"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        (OWN.replace('name = "lines"', 'name = "csv"'), "SettingsError: unusable logger Lines"),
        (OWN.replace("def finish", "def end"), "got no finish"),
        (OWN + OWN.replace("lines", "more"), "2 loggers registered"),
    ],
)
def test_a_file_that_registers_no_logger_is_refused_and_leaves_none_behind(tmp_path, text, got):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(SettingsError, match=r"unusable logger file mine\.py") as refused:
        tracking.make(str(tmp_path / "mine.py"))
    assert got in str(refused.value)
    assert tracking.names() == ("csv", "dvclive", "tensorboard", "mlflow", "wandb")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", "Did you mean tensorboard?"),
        ("nowhere.py", "missing logger file: expected a Python file, got nowhere.py"),
        (
            "wandb",
            "missing package: expected wandb for bpsta train --log wandb, got an install without it. "
            'Run `pip install "bpsta-cli[wandb]"`.',
        ),
    ],
)
def test_what_cannot_be_had_is_told_in_one_line_before_anything_is_made(
    name, message, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert run([*TINY, "--data-dir", str(data), "--out", "run", "--log", name]) == 2
    told = capsys.readouterr().err
    assert message in told
    assert len(told.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
