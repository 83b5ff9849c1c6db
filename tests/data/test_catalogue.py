import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bpsta_cli.cli.main import run
from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

PACKAGE = Path(catalogue.__file__).parents[1]
ROW = """
[moons]
title = "Two moons"
kind = "image"
shape = [1, 2, 2]
classes = ["upper", "lower"]
counts = [80, 20]
split = "official"
source = "https://example.org/moons"
licence = "MIT"
citation = "none"
full_scale = 255
loader = "moons:find"

[moons.recipe]
network = "4C3-2Voting"
epochs = 2
warmup_epochs = 1
batch_size = 4
"""


def test_reading_the_catalogue_loads_nothing_heavy():
    code = (
        "import sys; from bpsta_cli.data import catalogue; catalogue.names();"
        "heavy = {'torch', 'torchvision', 'tonic', 'numpy', 'sklearn'};"
        "print(*heavy & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_catalogue_is_not_read_before_it_is_asked():
    code = "from bpsta_cli.data import catalogue; print(catalogue._rows.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0"]


def test_the_wheel_carries_the_catalogue():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bpsta_cli"]
    assert catalogue.FILE in {path for pattern in patterns for path in PACKAGE.glob(pattern)}


@pytest.mark.parametrize("name", catalogue.names())
def test_every_row_is_complete_and_what_it_names_exists(name):
    row = catalogue.get(name)
    assert row.name == name
    assert row.synthetic == row.name.startswith("synthetic-") == ("synthetic" in row.title.lower())
    assert row.embedded == (not row.raw), "what is fetched lies somewhere"
    assert callable(catalogue.function(row.loader))
    assert row.describe is None or callable(catalogue.function(row.describe))


@pytest.mark.parametrize("name", catalogue.names())
def test_no_code_outside_of_the_loaders_knows_a_data_set_by_name(name):
    generic = [path for path in (PACKAGE / "data").rglob("*.py") if "datasets" not in path.parts]
    generic += [path for part in ("cli", "training", "evaluation", "energy") for path in (PACKAGE / part).rglob("*.py")]
    assert len(generic) > 30
    knowing = [path.name for path in generic if {f'"{name}"', f"'{name}'"} & _words(path)]
    assert knowing == []
    loaders = f"data.datasets.{catalogue.get(name).loader.split(':')[0].rsplit('.')[-1]}"
    assert [path.name for path in generic if loaders in path.read_text(encoding="utf-8")] == []


def _words(path):
    text = path.read_text(encoding="utf-8")
    return {word.strip("()[]{},.:;=") for word in text.split()}


@pytest.mark.parametrize("name", catalogue.names())
def test_the_page_about_the_data_has_a_line_for_every_data_set(name):
    row = catalogue.get(name)
    page = (PACKAGE.parent / "data" / "README.md").read_text(encoding="utf-8")
    (line, *files) = [line for line in page.splitlines() if line.startswith(f"| `{name}`")]
    if not row.user_supplied:
        assert f"| {row.counts[0]:,} + {row.counts[1]:,} | {row.licence} |" in line
    assert bool(files) == (not row.embedded), "where the files are when they are fetched by hand"


def test_a_row_in_full_is_read():
    row = catalogue.read(ROW)["moons"]
    assert (row.name, row.shape, row.classes, row.scale) == ("moons", (1, 2, 2), ("upper", "lower"), 1 / 255)
    assert (row.recipe.size, row.flip_safe, row.embedded, row.user_supplied) == (None, False, True, False)


LOADER = """
import numpy as np
from bpsta_cli.data.sources import Images, Source

def find(dataset, source, raw):
    files = {split: raw / f"{split}.npz" for split in ("train", "test")}
    return Source(raw, tuple(files.values()), lambda split: Images(**np.load(files[split])))
"""


def test_a_row_and_a_loader_are_all_that_a_new_data_set_needs(tmp_path, monkeypatch, capsys):
    (tmp_path / "moons.py").write_text(LOADER, encoding="utf-8")
    raw = tmp_path / "data" / "raw"
    raw.mkdir(parents=True)
    for split, count in (("train", 80), ("test", 20)):
        y = np.arange(count) % 2
        np.savez(raw / f"{split}.npz", x=np.full((count, 1, 2, 2), 255, np.uint8) * y[:, None, None, None], y=y)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(catalogue, "_rows", lambda: catalogue.read(ROW))
    places = ["--data-dir", str(tmp_path / "data")]
    assert run(["train", "--dataset", "moons", "--threads", "1", *places, "--out", str(tmp_path / "run")]) == 0
    store = prepare("moons", Preparation(), data_dir=tmp_path / "data")
    assert (store.classes, store.shape, len(store.split("train"))) == (("upper", "lower"), (1, 2, 2), 80)
    assert store.manifest.partial is None
    capsys.readouterr()
    assert run(["prepare", "--list", "--json", *places]) == 0
    (listed,) = json.loads(capsys.readouterr().out)["datasets"]
    assert (listed["name"], len(listed["prepared"])) == ("moons", 1)


@pytest.mark.parametrize(
    ("stated", "instead", "message"),
    [
        ("full_scale", "ful_scale", "got the unknown key ful_scale. Did you mean full_scale?"),
        ("network", "netwerk", "got the unknown key recipe.netwerk. Did you mean network?"),
        ('licence = "MIT"\n', "", "expected licence: Field required, got nothing. Correct licence."),
        ('licence = "MIT"', 'licence = ""', "expected licence: .* at least 1 character, got ''"),
        (
            'kind = "image"',
            'kind = "video"',
            "expected kind: Input should be 'image', 'events', 'speech' or 'series', got 'video'",
        ),
        ("[80, 20]", "[80]", "expected counts"),
        (
            "shape = [1, 2, 2]\n",
            "",
            "expected shape, classes and counts, all of them, in a row without a describe hook",
        ),
        ('"upper", "lower"', '"upper", "upper"', "expected classes with different names"),
        ('kind = "image"', 'kind = "speech"', "expected sound_reader in a row of sound"),
        ("full_scale = 255", "full_scale = 0", "expected full_scale: .* greater than or equal to 1, got 0"),
        ("moons:find", "moons.find", "expected loader: "),
        ("warmup_epochs = 1", "warmup_epochs = 2", r"expected recipe: fewer warmup_epochs \(2\) than epochs \(2\)"),
        ("[moons.recipe]", '[moons.sizes]\n"a.zip" = 3\n\n[moons.recipe]', "a checksum for every file in sizes, a.zip"),
        ("[moons.recipe]", '[moons.checksums]\n"a.zip" = "12"\n\n[moons.recipe]', "expected checksums.a.zip: "),
        ("[moons", "[Moons", "expected name: "),
        (
            'title = "Two moons"',
            'name = "moons"',
            "expected a table with the name .* as its own, got a key 'name' in it",
        ),
    ],
)
def test_a_row_with_an_unknown_missing_or_unusable_key_is_refused_by_name(stated, instead, message):
    assert stated in ROW
    with pytest.raises(DataError, match=rf"unusable row '[Mm]oons' in catalogue\.toml: .*{message}"):
        catalogue.read(ROW.replace(stated, instead))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scale = 1\n" + ROW, r"unusable row 'scale' in catalogue\.toml: .* got a value outside of the tables"),
        (ROW + "[moons]", r"unreadable catalogue\.toml: expected TOML, got .*line \d+"),
    ],
)
def test_a_file_that_is_no_catalogue_is_refused(text, message):
    with pytest.raises(DataError, match=message):
        catalogue.read(text)


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
