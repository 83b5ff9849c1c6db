"""What commands make of a run that is not finished: measured as it is, with the epoch said, or refused in a line."""

import hashlib
import json

import pandas as pd
import pytest

from bpsta_cli import training
from bpsta_cli.cli.main import run

SMALL = {"T": 2, "network": "4C3-AP8-10Voting", "epochs": 4, "warmup_epochs": 1, "evaluate_every": 1}


def stopped_after(epochs, data, out, **options):
    """A run that has so many epochs done."""
    settings = training.settings("digits", **SMALL, **options)
    events = training.train(settings, training.data(settings, data), out)
    while epochs:
        epochs -= isinstance(next(events), training.EpochDone)
    events.close()
    return out


def files_of(folder):
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def unfinished(data, tmp_path_factory):
    return stopped_after(3, data, tmp_path_factory.mktemp("runs") / "half")


def test_eval_takes_the_newest_epoch_and_says_which(data, unfinished, capsys):
    before = files_of(unfinished)
    assert run(["eval", str(unfinished), "--data-dir", str(data)]) == 0
    assert "not finished; these are the weights selected so far, of epoch 3 of 4" in capsys.readouterr().err
    assert run(["eval", str(unfinished), "--data-dir", str(data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    row = pd.read_csv(unfinished / "history.csv").iloc[2]
    assert (found["unfinished"], found["accuracy"]) == ({"selected_epoch": 2}, pytest.approx(row["accuracy"]))
    assert files_of(unfinished) == before


@pytest.mark.parametrize("command", ["energy", "latency"])
def test_energy_and_latency_take_it_too(data, unfinished, command, capsys):
    options = ["--no-clock"] if command == "latency" else []
    assert run([command, str(unfinished), "--data-dir", str(data), "--samples", "20", "--json", *options]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == {"selected_epoch": 2}


def test_predict_says_which_epoch_decides(unfinished, tmp_path, capsys):
    pytest.importorskip("PIL.Image").new("L", (8, 8)).save(tmp_path / "one.png")
    assert run(["predict", str(unfinished), str(tmp_path / "one.png")]) == 0
    assert "of epoch 3 of 4" in capsys.readouterr().err


def test_under_a_selection_the_epoch_is_the_one_that_is_best_so_far(data, tmp_path, capsys):
    out = stopped_after(3, data, tmp_path / "run", selection="validation")
    best = pd.read_csv(out / "history.csv").query("phase == 'spiking'")["validation_accuracy"].idxmax()
    assert run(["eval", str(out), "--data-dir", str(data), "--samples", "20", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["unfinished"] == {"selected_epoch": best}


def test_the_weights_have_the_hash_that_their_file_will_have(data, unfinished, tmp_path, capsys):
    options = ["--data-dir", str(data), "--samples", "20", "--json"]
    out = stopped_after(4, data, tmp_path / "run")  # all epochs, and no result yet
    assert not (out / "metrics.json").exists()
    assert run(["eval", str(out), *options]) == 0
    first = json.loads(capsys.readouterr().out)["weights_sha256"]
    assert run(["train", "--resume", "--out", str(out), "--data-dir", str(data)]) == 0
    capsys.readouterr()
    assert first == hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()
    assert run(["eval", str(out), *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["weights_sha256"], "unfinished" in found) == (first, False)


def test_before_the_first_epoch_with_spikes_there_is_nothing_to_measure(data, tmp_path, capsys):
    out = stopped_after(1, data, tmp_path / "run")
    assert run(["eval", str(out), "--data-dir", str(data)]) == 2
    assert "stopped before one was finished" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["export", "--format", "onnx"], ["share"], ["verify"]])
def test_what_hands_a_run_on_waits_for_its_end(unfinished, command, capsys):
    if command[0] == "export":
        pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    assert run([command[0], str(unfinished), *command[1:]]) == 2
    assert "finished" in capsys.readouterr().err
