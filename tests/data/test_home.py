"""Where data are, where nobody says."""

from pathlib import Path

import pytest

from bpsta_cli import training
from bpsta_cli.cli.main import run
from bpsta_cli.config import Preparation
from bpsta_cli.data import home
from bpsta_cli.data.store import prepare


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty working folder, with a user's data folder beside it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    return folder


def test_data_go_into_the_users_folder_which_every_working_folder_shares(here, tmp_path, monkeypatch):
    assert run(["prepare", "--dataset", "digits"]) == 0
    assert (tmp_path / "share" / "bpsta" / "prepared" / "digits" / "images").is_dir()
    assert list(here.iterdir()) == []
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    assert prepare("digits", Preparation()).path == tmp_path / "share" / "bpsta" / "prepared" / "digits" / "images"


def test_bpsta_data_names_the_folder_and_an_option_goes_before_it(here, tmp_path, monkeypatch):
    monkeypatch.setenv("BPSTA_DATA", str(tmp_path / "named"))
    assert home.folder() == tmp_path / "named"
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(tmp_path / "given")]) == 0
    assert (tmp_path / "given" / "prepared").is_dir()
    assert not (tmp_path / "named").exists()


def test_the_library_takes_the_folder_of_the_command(here, tmp_path, monkeypatch):
    monkeypatch.setenv("BPSTA_DATA", str(tmp_path / "named"))
    assert tmp_path / "named" in training.data(training.settings("digits")).path.parents
    assert list(here.iterdir()) == []


def test_data_that_are_here_are_used_unless_the_variable_says_otherwise(here, tmp_path, monkeypatch):
    (here / "data").mkdir()
    assert home.folder() != Path("data"), "an unrelated folder of that name is not ours"
    (here / "data" / "prepared").mkdir()
    assert home.folder() == Path("data")
    monkeypatch.setenv("BPSTA_DATA", str(tmp_path / "named"))
    assert home.folder() == tmp_path / "named"


def test_beside_a_pipeline_it_is_its_own_folder_whatever_the_variable_says(here, tmp_path, monkeypatch):
    (here / "data").mkdir()
    (here / "dvc.yaml").touch()
    monkeypatch.setenv("BPSTA_DATA", str(tmp_path / "named"))
    assert home.folder() == Path("data")
