"""Recordings binned into another number of frames: the same recordings, or a refusal that says what is missing."""

import json
import shutil

import pytest
from data_files import write_n_mnist

from bpsta_cli.cli.main import run
from bpsta_cli.config import DatasetSettings
from bpsta_cli.data.run_data import prepared_store, rebin
from bpsta_cli.errors import DataError


@pytest.fixture
def source(tmp_path):
    return write_n_mnist(tmp_path / "raw", train=12, test=6)


@pytest.fixture
def settings(source):
    return DatasetSettings(
        network="4C3-AP34-2Voting", epochs=1, warmup_epochs=0, batch_size=4, source=str(source), split_by="time"
    )


@pytest.fixture
def trained_on(settings, tmp_path):
    return prepared_store("n-mnist", settings, T=4, data_dir=tmp_path)


def test_the_same_recordings_are_cut_into_other_frames(trained_on, settings, tmp_path):
    store = rebin(trained_on, settings, T=2, data_dir=tmp_path)
    assert (store.T, store.path.name) == (2, "T2-time")
    four, two = trained_on.split("test"), store.split("test")
    assert (two.x.sum((1, 2, 3, 4)) == four.x.sum((1, 2, 3, 4))).all()
    assert two.y.tolist() == four.y.tolist()


def test_frames_that_are_there_need_no_recordings(trained_on, settings, source, tmp_path):
    first = rebin(trained_on, settings, T=3, data_dir=tmp_path)
    shutil.rmtree(source)
    assert rebin(trained_on, settings, T=3, data_dir=tmp_path).path == first.path
    with pytest.raises(DataError, match=r"no frames of n-mnist for T = 5.*got T4-time alone.*--T 5 with the --source"):
        rebin(trained_on, settings, T=5, data_dir=tmp_path)


def test_frames_of_other_recordings_are_not_taken_for_these(trained_on, settings, source, tmp_path):
    shutil.rmtree(source)
    write_n_mnist(source, train=12, test=6, events=70)
    with pytest.raises(DataError, match="other recordings than the run was trained on"):
        rebin(trained_on, settings, T=2, data_dir=tmp_path)
    with pytest.raises(DataError, match="other recordings"):  # nor once they are prepared
        rebin(trained_on, settings, T=2, data_dir=tmp_path)


def test_latency_runs_a_trained_network_on_recordings_cut_anew(source, tmp_path, capsys):
    places = ["--data-dir", str(tmp_path)]
    training = ["--dataset", "n-mnist", "--T", "4", "--network", "4C3-AP34-2Voting", "--epochs", "1", "--threads", "1"]
    assert run(["train", *training, "--source", str(source), *places, "--out", str(tmp_path / "run")]) == 0
    command = ["latency", str(tmp_path / "run"), *places, "--no-clock"]
    capsys.readouterr()
    assert run([*command, "--T", "2,4,5", "--exit-confidence", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["T"], list(row["accuracy_at"])[-1]) for row in found["other_time_steps"]] == [
        (2, "2"),
        (4, "4"),
        (5, "5"),
    ]
    assert found["other_time_steps"][1]["accuracy_at"] == found["accuracy_at"]
    assert {path.name for path in (tmp_path / "prepared" / "n-mnist").glob("T*")} == {
        "T2-number",
        "T4-number",
        "T5-number",
    }
    shutil.rmtree(source)
    assert run([*command, "--T", "6", "--json"]) == 2
    printed = capsys.readouterr()
    assert "no frames of n-mnist for T = 6" in json.loads(printed.out)["error"]["message"]
    assert printed.err == ""
