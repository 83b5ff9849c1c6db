"""A small install trains, and each command that needs more says in one line what, and how to add it."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli import packages
from bpsta_cli.cli.explain import explanation
from bpsta_cli.errors import ExportError, SettingsError

ROOT = Path(__file__).parent.parent
WITHOUT = """
import sys

class Absent:
    def __init__(self, names):
        self.names = names
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

import json
from bpsta_cli import packages
sys.meta_path.insert(0, Absent({package.module for package in (*packages.OPTIONAL, *packages.EXTRAS)}))
from bpsta_cli.cli.main import run
for command in json.loads(sys.argv[1]):
    print(run(command), flush=True)
    print("--", file=sys.stderr, flush=True)
"""
COMMANDS = {
    "torchvision": ["prepare", "--dataset", "mnist", "--data-dir", "data"],
    "tonic": ["prepare", "--dataset", "dvs-gesture", "--T", "2", "--data-dir", "data"],
    "torchaudio": ["prepare", "--dataset", "speech-commands", "--data-dir", "data"],
    "onnx": ["export", "run", "--format", "onnx"],
    "huggingface_hub": ["share", "run", "--to", "hub:me/run"],
}
TRAIN = [
    "train", "--dataset", "digits", "--T", "2", "--epochs", "2", "--network", "4C3-MP2-AP4-10Voting",
    "--train-samples", "40", "--threads", "1", "--out", "run",
]  # fmt: skip


def test_without_any_package_that_may_be_left_out_a_run_is_trained_and_the_rest_says_what_is_missing(tmp_path):
    commands = [TRAIN, ["eval", "run", "--samples", "20"], *COMMANDS.values(), ["doctor", "--json"]]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(commands)], cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    codes = [line for line in done.stdout.splitlines() if line in "0123"]
    assert codes == ["0", "0", *"2" * len(COMMANDS), "0"]
    told = done.stderr.split("--\n")[2:]
    for name, said in zip(COMMANDS, told, strict=False):
        (package,) = (each for each in (*packages.OPTIONAL, *packages.EXTRAS) if each.module == name)
        assert said.endswith(
            f"Error: missing package: expected {package.distribution} for {package.needed_for}, "
            f"got an install without it. Run `{package.command}`.\n"
        )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["usable"]
    absent = {each["name"]: each["mend"] for each in found["findings"] if each["state"] == "absent"}
    assert {
        each.distribution: each.command for each in (*packages.OPTIONAL, *packages.EXTRAS)
    }.items() <= absent.items()


@pytest.mark.parametrize("module", ["tonic", "tonic.datasets", "PIL.Image"])
def test_a_module_of_a_known_package_is_explained(module):
    (line,) = explanation(ModuleNotFoundError(f"No module named '{module}'", name=module))
    assert line.endswith((f"`pip install {module.partition('.')[0]}`.", "`pip install pillow`."))


@pytest.mark.parametrize("package", packages.EXTRAS, ids=lambda package: package.module)
def test_a_package_of_an_extra_is_required_and_explained_in_the_same_words(package, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ExportError) as refused:
        packages.require(f"{package.module}.part", ExportError)
    lacking = ModuleNotFoundError(f"No module named '{package.module}'", name=package.module)
    assert refused.value.lines() == explanation(lacking)
    assert str(refused.value).endswith(f'Run `pip install "bpsta-cli[{package.extra}]"`.')


def test_a_package_that_no_table_has_is_required_by_its_own_name():
    with pytest.raises(SettingsError, match="Run `pip install no_such_module`"):
        packages.require("no_such_module.part")
    packages.require("json.decoder")


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="bpsta_cli.x"), ImportError("x"), ValueError("tonic")])
def test_an_error_that_no_package_mends_is_ours(error):
    assert explanation(error) is None


def test_every_package_that_is_named_is_required_by_the_whole_install():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {line.partition(">")[0] for line in project["dependencies"]}
    assert {each.distribution for each in (*packages.NEEDED, *packages.OPTIONAL)} <= required
    extras = {
        extra: {re.split(r"[>\[]", line)[0] for line in lines}
        for extra, lines in project["optional-dependencies"].items()
    }
    assert all(each.distribution in extras[each.extra] for each in packages.EXTRAS)
    user_fixed = {"typer", "rich", "torch", "torchvision", "torchaudio", "tonic", "pandas", "dvc"}
    assert user_fixed <= required
