"""A trained run that is shared, and its data."""

import shutil

import pytest

from bpsta_cli.cli.main import run

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def measured(data):
    """A run with its energy."""
    out = data / "runs" / "tiny"
    assert run(["train", *TINY, "--seed", "3", "--data-dir", str(data), "--out", str(out)]) == 0
    options = ["--samples", "40", "--data-dir", str(data), "--out", str(out / "energy.json")]
    assert run(["energy", str(out), *options]) == 0
    return out


@pytest.fixture
def trained(measured, tmp_path):
    """The same in a folder of the test's own."""
    return shutil.copytree(measured, tmp_path / "tiny")
