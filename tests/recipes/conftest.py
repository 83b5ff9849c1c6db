"""The command line with the smallest run there is."""

import json

import pytest

from bpsta_cli.cli.main import run

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "1", "--warmup-epochs", "0"]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A data folder with prepared digits."""
    folder = tmp_path_factory.mktemp("data")
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def train(prepared, tmp_path):
    """Train one epoch with these options; the run directory."""

    def train(*options):
        out = tmp_path / "run"
        assert run(["train", *TINY, "--threads", "1", "--data-dir", str(prepared), "--out", str(out), *options]) == 0
        return out

    return train


@pytest.fixture
def json_of(capsys):
    """The JSON object that a command prints."""

    def json_of(*arguments):
        capsys.readouterr()
        assert run([*map(str, arguments), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return json_of
