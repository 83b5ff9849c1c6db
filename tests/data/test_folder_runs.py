"""A user's own folder on the command line, from its files to a table of energy and latency."""

import json
import shutil

import pytest
from folder_files import write_images, write_recordings, write_series, write_sounds, write_split

from bpsta_cli.cli.main import run

WRITE = {
    "images": lambda root: write_split(root, size=(8, 9)),
    "events": write_recordings,
    "speech": write_sounds,
    "series": write_series,
}


def json_of(capsys, *arguments):
    capsys.readouterr()
    assert run([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", WRITE)
def test_a_run_on_a_folder_is_trained_and_measured_and_needs_the_folder_no_longer(tmp_path, capsys, kind):
    source, data, out = WRITE[kind](tmp_path / "mine"), tmp_path / "data", tmp_path / "run"
    network = "8FC-2Voting" if kind == "series" else "2C3-AP4-2Voting"
    tiny = ["--network", network, "--epochs", "2", "--threads", "1", "--T", "2"]
    trained = json_of(
        capsys, "train", "--dataset", "folder", "--source", source, *tiny, "--data-dir", data, "--out", out
    )
    assert (trained["dataset"], trained["split"]) == ("folder", "mine: its train/ and test/ folders")
    shutil.rmtree(source)
    for command in (["eval"], ["energy"], ["latency", "--no-clock"]):
        measured = json_of(capsys, command[0], out, *command[1:], "--data-dir", data)
        assert measured["split"] == trained["split"]


def test_the_recipe_of_a_folder_is_chosen_by_its_kind_and_trains(tmp_path, capsys):
    source = write_images(tmp_path / "mine", each=4, size=(8, 8))
    found = json_of(
        capsys,
        *("train", "--dataset", "folder", "--source", source, "--test-fraction", "0.25", "--split-seed", "4"),
        *("--epochs", "2", "--T", "1", "--threads", "1", "--data-dir", tmp_path / "data", "--out", tmp_path / "run"),
    )
    assert found["network"] == "32C3-MP2-64C3-MP2-128C3-MP2-10Voting"
    assert found["split"] == "mine, not official: 0.25 of the training samples held out, seed 4"


def test_a_split_that_is_not_official_is_said_beside_the_figures(tmp_path, capsys):
    source, data, out = write_split(tmp_path / "mine", size=(8, 8)), tmp_path / "data", tmp_path / "run"
    tiny = ["--network", "2C3-AP8-2Voting", "--epochs", "1", "--warmup-epochs", "0", "--threads", "1", "--T", "1"]
    asked = ["train", "--dataset", "folder", "--source", str(source), *tiny, "--data-dir", str(data), "--out", str(out)]
    assert run(asked) == 0
    capsys.readouterr()
    assert run(["eval", str(out), "--data-dir", str(data)]) == 0
    assert "folder, split: mine: its train/ and test/ folders" in capsys.readouterr().out


def test_training_on_a_folder_without_naming_it_is_refused(tmp_path, capsys):
    assert run(["train", "--dataset", "folder", "--data-dir", str(tmp_path)]) == 2
    assert "--source DIR, a folder that exists, got no --source" in capsys.readouterr().err


def test_the_list_names_the_stores_of_a_folder_and_what_is_downloaded(tmp_path, capsys):
    source = write_split(tmp_path / "mine")
    json_of(capsys, "prepare", "--dataset", "folder", "--source", source, "--data-dir", tmp_path / "data")
    (tmp_path / "data" / "raw" / "MNIST" / "raw").mkdir(parents=True)
    (tmp_path / "data" / "raw" / "MNIST" / "raw" / "a.gz").write_bytes(bytes(1234))
    rows = {
        row["name"]: row for row in json_of(capsys, "prepare", "--list", "--data-dir", tmp_path / "data")["datasets"]
    }
    assert len(rows["folder"]["prepared"]) == 1
    assert rows["folder"]["bytes"] > 8 * 3 * 4 * 6
    assert (rows["mnist"]["downloaded_bytes"], rows["mnist"]["prepared"]) == (1234, [])
    assert rows["dvs-cifar10"]["split"].startswith("no official split: the first 90 %")
    assert (rows["cifar10"]["licence"], rows["folder"]["shape"]) == ("not stated by its authors", None)
    capsys.readouterr()
    assert run(["prepare", "--list", "--data-dir", str(tmp_path / "data")]) == 0
    table = capsys.readouterr().out
    assert all(word in table for word in ("kind", "classes", "downloaded", "prepared"))


def test_processes_of_less_than_one_are_refused(tmp_path, capsys):
    assert run(["prepare", "--dataset", "digits", "--processes", "0", "--data-dir", str(tmp_path)]) == 2
    assert "--processes" in capsys.readouterr().err
