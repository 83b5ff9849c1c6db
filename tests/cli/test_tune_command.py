"""`bpsta tune`: what it prints and writes, and what it refuses."""

import importlib.util
import json
import signal

import pandas as pd
import pytest

from bpsta_cli.cli import tune as command
from bpsta_cli.cli.main import run

pytest.importorskip("optuna")
SMALL = ["--dataset", "digits", "--T", "2", "--epochs", "1", "--network", "4C3-AP8-10Voting", "--train-samples", "100"]


@pytest.fixture
def line(data, tmp_path):
    return ["tune", *SMALL, "--device", "cpu", "--data-dir", str(data), "--out", str(tmp_path / "search")]


def test_a_search_writes_its_trials_and_their_front_as_tables_and_a_picture(line, tmp_path, capsys):
    assert run([*line, "--trials", "2"]) == 0
    printed = capsys.readouterr().out
    assert "trial-001 (2/2) validation" in printed
    assert "Trials that no other one beats" in printed
    out = tmp_path / "search"
    trials = pd.read_csv(out / "trials.csv")
    assert list(trials["state"]) == ["finished"] * 2
    assert set(json.loads(trials["settings"][0])) == {"training.lr", "training.spike_penalty", "rule.alpha"}
    assert 1 <= len(pd.read_csv(out / "front.csv")) <= 2
    assert "| trial-00" in (out / "front.md").read_text()
    assert (out / "front.svg").read_text().startswith("<?xml")
    assert (out / "front.png").read_bytes()[1:4] == b"PNG"
    pictures = [(out / f"front.{ending}").read_bytes() for ending in ("png", "svg")]
    assert run([*line, "--trials", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [trial["number"] for trial in found["trials"]] == [0, 1]
    assert set(found["front"]) <= {0, 1}
    assert [(out / f"front.{ending}").read_bytes() for ending in ("png", "svg")] == pictures
    assert run(["compare", str(out / "trial-000"), str(out / "trial-001")]) == 0
    assert "Of held-out training samples, not of the test part: trial-000, trial-001." in capsys.readouterr().out


def test_a_trial_is_not_evaluated_and_a_run_of_its_settings_trains_on_all_samples(line, data, tmp_path, capsys):
    assert run([*line, "--trials", "1"]) == 0
    trial, out = tmp_path / "search" / "trial-000", tmp_path / "run"
    capsys.readouterr()
    assert run(["eval", str(trial), "--data-dir", str(data)]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "is a trial of a search" in said
    assert "--selection final" in said
    assert run(["train", "--like", str(trial), "--selection", "final", "--out", str(out), "--data-dir", str(data)]) == 0
    assert run(["eval", str(out), "--data-dir", str(data)]) == 0
    tried, whole = (json.loads((each / "settings.json").read_text())["settings"] for each in (trial, out))
    assert tried["rule"] == whole["rule"]
    assert tried["training"] | {"selection": "final"} == whole["training"]


def test_a_signal_keeps_the_search_and_ends_with_its_exit_code(line, tmp_path, capsys, monkeypatch):
    class Signalled(command.Interruption):
        """Gets SIGINT at the first step."""

        def asked(self):
            if not self.number:
                self._note(signal.SIGINT, None)
            return True

    with monkeypatch.context() as patch:
        patch.setattr(command, "Interruption", Signalled)
        assert run([*line, "--trials", "1"]) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert list(pd.read_csv(tmp_path / "search" / "trials.csv")["state"]) == ["running"]
    assert run([*line, "--trials", "1"]) == 0
    assert list(pd.read_csv(tmp_path / "search" / "trials.csv")["state"]) == ["finished"]


def test_without_optuna_one_line_names_the_extra(line, tmp_path, capsys, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "optuna" else there(name, *more)
    )
    assert run(line) == 2
    said = capsys.readouterr().err
    assert 'pip install "bpsta-cli[study]"' in said
    assert said.count("\n") == 1
    assert not (tmp_path / "search").exists()


def test_where_no_trial_could_be_trained_a_warning_says_so(line, tmp_path, capsys):
    space = tmp_path / "space.yaml"
    space.write_text("trials: 1\nstartup: 1\nspace: {data: {network: [8X3]}}\nrules: {bpsta: {}}\n")
    assert run([*line, "--space", str(space)]) == 0
    assert "no trial could be trained" in capsys.readouterr().err


def test_without_a_data_set_no_option_of_another_command_is_named(capsys):
    assert run(["tune"]) == 2
    said = capsys.readouterr().err
    assert "--dataset NAME" in said
    assert "--resume" not in said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trials", "0"], "--trials"),
        (["--method", "ann"], "no spikes"),
        (["--method", "bpst"], "unknown method"),
        (["--space", "none.yaml"], "unusable space"),
    ],
)
def test_what_cannot_be_searched_is_refused(line, more, said, tmp_path, capsys):
    assert run([*line, *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "search").exists()
