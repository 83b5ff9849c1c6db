"""A shared run is complete, as it was, and without what names the machine."""

import json
import shutil
import subprocess
import sys

import pytest
import torch

import bpsta_cli
from bpsta_cli.cli.main import run

FILES = {"README.md", "history.csv", "metrics.json", "model.safetensors", "settings.json"}


def told(capsys, *arguments, code=0):
    capsys.readouterr()
    assert run(["share", *map(str, arguments)]) == code
    return capsys.readouterr()


def test_without_a_place_the_card_is_written_into_the_run_and_nothing_else(trained, capsys):
    before = {file.name: file.read_bytes() for file in trained.iterdir()}
    assert "Written:" in told(capsys, trained).out
    after = {file.name: file.read_bytes() for file in trained.iterdir()}
    assert after.pop("README.md").startswith(b"---\n")
    assert after == before


def test_a_folder_gets_the_run_and_its_card_and_loads_to_the_same_votes(trained, tmp_path, capsys):
    found = json.loads(told(capsys, trained, "--to", tmp_path / "shared", "--json").out)
    assert found["written"] == str(tmp_path / "shared")
    assert {file.name for file in (tmp_path / "shared").iterdir()} == FILES
    for name in FILES - {"README.md"}:
        assert (tmp_path / "shared" / name).read_bytes() == (trained / name).read_bytes()
    x = torch.rand(2, 5, 1, 8, 8)
    with torch.no_grad():
        one, other = bpsta_cli.load(trained)(x), bpsta_cli.load(str(tmp_path / "shared"))(x)
    assert torch.equal(one, other)


def test_what_was_shared_is_evaluated_as_the_run_itself(measured, data, tmp_path, capsys):
    told(capsys, measured, "--to", tmp_path / "shared")
    found = []
    for path in (measured, tmp_path / "shared"):
        capsys.readouterr()
        assert run(["eval", str(path), "--data-dir", str(data), "--samples", "50", "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out))
    assert found[0]["confusion"] == found[1]["confusion"]


def test_sharing_again_is_the_same_and_another_run_is_not_overwritten_unasked(trained, data, tmp_path, capsys):
    shared = tmp_path / "shared"
    told(capsys, trained, "--to", shared)
    before = {file.name: file.read_bytes() for file in shared.iterdir()}
    told(capsys, trained, "--to", shared)
    assert {file.name: file.read_bytes() for file in shared.iterdir()} == before
    other = tmp_path / "other"
    options = ["--dataset", "digits", "--T", "1", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--threads", "1"]
    assert run(["train", *options, "--data-dir", str(data), "--out", str(other)]) == 0
    assert "the folder is taken" in told(capsys, other, "--to", shared, code=2).err
    assert {file.name: file.read_bytes() for file in shared.iterdir()} == before
    told(capsys, other, "--to", shared, "--overwrite")
    assert (shared / "settings.json").read_bytes() == (other / "settings.json").read_bytes()


@pytest.mark.parametrize("name", ["README.md", "model.safetensors"])
def test_files_of_something_else_are_not_overwritten_unasked(trained, tmp_path, capsys, name):
    project = tmp_path / "project"
    project.mkdir()
    (project / name).write_text("mine")
    assert f"with a {name} of something else" in told(capsys, trained, "--to", project, code=2).err
    assert {file.name: file.read_text() for file in project.iterdir()} == {name: "mine"}
    told(capsys, trained, "--to", project, "--overwrite")
    assert {file.name for file in project.iterdir()} == FILES


def test_a_readme_of_ones_own_in_the_run_is_kept_until_it_may_go(trained, capsys):
    (trained / "README.md").write_text("notes")
    assert "a README.md of something else" in told(capsys, trained, code=2).err
    assert (trained / "README.md").read_text() == "notes"
    told(capsys, trained, "--overwrite")
    assert (trained / "README.md").read_text().startswith("---\n")


def test_paths_of_this_machine_are_told_before_they_leave_it(trained, tmp_path, capsys, monkeypatch):
    from bpsta_cli.sharing import folder

    (found,) = folder.read_runs([trained])
    data = found.settings.data.model_copy(update={"source": "/home/me/images"})
    changed = found.settings.model_copy(update={"data": data})
    monkeypatch.setattr(folder, "finished", lambda _: type(found)(**{**vars(found), "settings": changed}))
    assert "names paths of this machine: data.source: /home/me/images" in " ".join(
        told(capsys, trained, "--to", tmp_path / "shared").err.split()
    )


def test_a_card_without_energy_says_which_command_measures_it(trained, capsys):
    (trained / "energy.json").unlink()
    assert f"bpsta energy {trained} --out {trained}/energy.json" in " ".join(told(capsys, trained).err.split())


@pytest.mark.parametrize("damage", ["unfinished", "weights", "history", "nothing"])
def test_what_is_not_whole_is_not_shared(trained, tmp_path, capsys, damage):
    if damage == "unfinished":
        (trained / "metrics.json").unlink()
    elif damage == "nothing":
        shutil.rmtree(trained)
    else:
        file = trained / {"weights": "model.safetensors", "history": "history.csv"}[damage]
        file.write_bytes(file.read_bytes()[:-1] + b"0")
    assert told(capsys, trained, "--to", tmp_path / "shared", code=2).out == ""
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("place", [[], ["--to", "shared"]])
def test_only_a_repository_of_the_hub_can_be_private(trained, tmp_path, monkeypatch, capsys, place):
    monkeypatch.chdir(tmp_path)
    assert "--private beside --to hub:USER/NAME" in told(capsys, trained, "--private", *place, code=2).err
    assert not (tmp_path / "shared").exists()
    assert not (trained / "README.md").exists()


def test_loading_a_run_loads_nothing_that_only_sharing_one_needs():
    code = (
        "import sys, bpsta_cli.training.load; before = set(sys.modules); import bpsta_cli; bpsta_cli.load;"
        "print(*(name for name in set(sys.modules) - before if name.split('.')[0] not in ('bpsta_cli',)"
        " or 'reporting' in name or 'card' in name))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_files_of_a_run_are_checked_once(trained, tmp_path, capsys, monkeypatch):
    from bpsta_cli.training.run_directory import RunDir

    checked, check = [], RunDir.check
    monkeypatch.setattr(RunDir, "check", lambda directory: checked.append(directory) or check(directory))
    for place in ([], ["--to", tmp_path / "shared"]):
        checked.clear()
        told(capsys, trained, *place)
        assert len(checked) == 1
