"""What the tests of several commands begin with."""

import pytest

from bpsta_cli.cli.main import run


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with prepared digits, one for each file of tests."""
    folder = tmp_path_factory.mktemp("data")
    assert run(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder
