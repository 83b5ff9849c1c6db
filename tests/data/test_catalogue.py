import importlib
import subprocess
import sys

import pytest

from bpsta_cli.data import catalogue
from bpsta_cli.errors import DataError


def test_importing_the_catalogue_loads_nothing_heavy():
    code = (
        "import sys, bpsta_cli.data.catalogue;"
        "heavy = {'torch', 'torchvision', 'tonic', 'pydantic', 'numpy', 'sklearn'};"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", catalogue.names())
def test_every_row_is_complete_and_its_loader_exists(name):
    row = catalogue.get(name)
    assert row.name == name
    for text in (row.title, row.split, row.source, row.licence, row.citation):
        assert text
    assert len(row.classes) == len(set(row.classes))
    assert row.scale > 0
    assert 0 < row.recipe.warmup_epochs < row.recipe.epochs
    assert row.embedded == (not row.checksums)
    assert all(len(checksum) in (32, 64) for checksum in row.checksums.values()), "MD5 or SHA-256"
    assert row.synthetic == row.name.startswith("synthetic-") == ("synthetic" in row.title.lower())
    module, function = row.loader.split(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize(
    ("given", "meant"), [("nmnist", "n-mnist"), ("Digit", "digits"), ("dvs_gesture", "dvs-gesture")]
)
def test_a_misspelt_name_is_answered_with_the_nearest_and_all(given, meant):
    with pytest.raises(DataError, match=f"Did you mean {meant}") as caught:
        catalogue.get(given)
    assert all(name in caught.value.expected for name in catalogue.names())


def test_a_name_like_none_is_answered_with_the_list_alone():
    with pytest.raises(DataError, match="prepare --list"):
        catalogue.get("zzz")
