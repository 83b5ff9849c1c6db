"""A small install trains, and each command that needs more says in one line what, and how to add it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli import packages
from bpsta_cli.cli.explain import explanation

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
sys.meta_path.insert(0, Absent({package.module for package in packages.OPTIONAL}))
from bpsta_cli.cli.main import run
for command in json.loads(sys.argv[1]):
    print(run(command), flush=True)
    print("--", file=sys.stderr, flush=True)
"""
COMMANDS = {
    "torchvision": ["prepare", "--dataset", "mnist", "--data-dir", "data"],
    "tonic": ["prepare", "--dataset", "dvs-gesture", "--T", "2", "--data-dir", "data"],
    "torchaudio": ["prepare", "--dataset", "speech-commands", "--data-dir", "data"],
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
    assert codes == ["0", "0", "2", "2", "2", "0"]
    told = done.stderr.split("--\n")[2:]
    for name, said in zip(COMMANDS, told, strict=False):
        (package,) = (each for each in packages.OPTIONAL if each.module == name)
        assert said == (
            f"Error: missing package: expected {name} for {package.needed_for}, got an install without it. "
            f"Run `pip install {name}`.\n"
        )
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("{")))
    assert found["usable"]
    absent = {each["name"]: each["mend"] for each in found["findings"] if each["state"] == "absent"}
    assert {each.distribution: each.command for each in packages.OPTIONAL}.items() <= absent.items()


@pytest.mark.parametrize("module", ["tonic", "tonic.datasets", "PIL.Image"])
def test_a_module_of_a_known_package_is_explained(module):
    (line,) = explanation(ModuleNotFoundError(f"No module named '{module}'", name=module))
    assert line.endswith((f"`pip install {module.partition('.')[0]}`.", "`pip install pillow`."))


@pytest.mark.parametrize("error", [ModuleNotFoundError("x", name="bpsta_cli.x"), ImportError("x"), ValueError("tonic")])
def test_an_error_that_no_package_mends_is_ours(error):
    assert explanation(error) is None


def test_every_package_that_is_named_is_required_by_the_whole_install():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = {line.partition(">")[0] for line in project["dependencies"]}
    assert {each.distribution for each in (*packages.NEEDED, *packages.OPTIONAL)} <= required
    user_fixed = {"typer", "rich", "torch", "torchvision", "torchaudio", "tonic", "pandas", "dvc"}
    assert user_fixed <= required
