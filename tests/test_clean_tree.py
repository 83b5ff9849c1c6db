"""Results hold nothing that changes by merely making them again: no commit, no day, no machine, no measured time."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from test_pipeline import script

from bpsta_cli import provenance
from bpsta_cli.cli.main import run as bpsta
from bpsta_cli.config import load_params

ROOT = Path(__file__).parent.parent
VOLATILE = {"provenance", "commit", "code", "python", "libraries", "machine", "device", "threads", "kernel"}
VOLATILE |= {"seconds", "time", "date", "timestamp", "clock", "epoch_seconds"}
"""Names of what may change although the result is the same; provenance.json alone has them."""
PROVENANCES = ("results/provenance.json", "results/lite/provenance.json")
OWN = ("provenance.json", "model.safetensors", "state.pt", "timings.json")
"""What a run directory and a measurement have beside their results; git has none of it."""
NAME = "digits-bpsta-T2-s0"


def keys(value):
    """Every name in a JSON object, at any depth."""
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set().union(*map(keys, value)) if isinstance(value, list) else set()


def names(path, text):
    """The names that a file of results gives its values."""
    if path.endswith(".json"):
        return keys(json.loads(text))
    return set(next(csv.reader(io.StringIO(text)))) if path.endswith(".csv") else set()


def in_index():
    listed = subprocess.run(["git", "ls-files", "results"], cwd=ROOT, check=True, capture_output=True, text=True)
    return [path for path in listed.stdout.split() if path not in PROVENANCES]


def test_no_committed_result_holds_what_changes_by_making_it_again():
    found = {}
    for path in in_index():
        if path.endswith((".json", ".csv")):
            text = subprocess.run(["git", "show", f":{path}"], cwd=ROOT, check=True, capture_output=True, text=True)
            found[path] = names(path, text.stdout) & VOLATILE
    assert len(found) > 100
    assert {path: volatile for path, volatile in found.items() if volatile} == {}


def params(runs):
    """A study of a few tiny runs of digits."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text())
    small = {"network": "4C3-AP8-10Voting", "epochs": 2, "warmup_epochs": 1, "train_samples": 100}
    content["datasets"] = {"digits": content["datasets"]["digits"] | small}
    return yaml.safe_dump(content | runs | {"stand_ins": {"mnist": "digits"}}, sort_keys=False)


def make():
    """What the pipeline does for one run, and the report."""
    for arguments in [*script("stage").commands(f"train@{NAME}", load_params(Path("params.yaml"))), ["report"]]:
        assert bpsta(arguments) == 0, arguments


def tracked(folder):
    """The files that git would have."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted((folder / "results").rglob("*"))
        if path.is_file() and path.name not in OWN and not path.name.endswith(".provenance.json")
    } | {"results/provenance.json": (folder / "results/provenance.json").read_bytes()}


def test_made_again_by_another_commit_on_another_machine_with_equal_numbers_every_file_is_the_same(
    tmp_path, monkeypatch
):
    run = {"dataset": "digits", "recipe": "digits", "method": "bpsta", "T": 2, "seed": 0}
    (tmp_path / "params.yaml").write_text(params({"measured": {NAME: run}, "train_only": {}}))
    monkeypatch.chdir(tmp_path)
    make()
    first = tracked(tmp_path)
    assert {path for path, data in first.items() if path.endswith(".json") and keys(json.loads(data)) & VOLATILE} == {
        "results/provenance.json"
    }
    real = provenance.machine()
    monkeypatch.setattr(provenance, "commit", lambda: "another")
    monkeypatch.setattr(provenance, "machine", lambda: type(real)(*["another"] * 6))
    for file in (tmp_path / "results").rglob("*.provenance.json"):
        file.unlink()
    shutil.rmtree(tmp_path / "results/train")
    make()
    assert json.loads((tmp_path / f"results/train/{NAME}/provenance.json").read_text())["commit"] == "another"
    second = tracked(tmp_path)
    assert [path for path in first if first[path] != second.get(path)] == []
    assert second.keys() == first.keys()


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


@pytest.mark.skipif("BPSTA_SLOW" not in os.environ, reason="BPSTA_SLOW is not set: some minutes of DVC")
def test_the_pipeline_from_nothing_leaves_a_clone_as_it_was(tmp_path):
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(ROOT), str(clone))
    runs = {"measured": {NAME: {"method": "bpsta"}}, "train_only": {NAME.replace("bpsta", "ann"): {"method": "ann"}}}
    for part in runs.values():
        for line in part.values():
            line |= {"dataset": "digits", "recipe": "digits", "T": 2, "seed": 0}
    (clone / "params.yaml").write_text(params(runs))
    git(clone, "rm", "-r", "--quiet", "results", "dvc.lock")
    environment = os.environ | {"PYTHONPATH": str(clone), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    def repro():
        subprocess.run([sys.executable, "pipelines/repro.py"], cwd=clone, env=environment, check=True)

    repro()
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "results")
    git(clone, "clean", "--quiet", "-dffX")  # what git does not have: data, weights, DVC's cache
    shutil.rmtree(clone / ".dvc/cache", ignore_errors=True)
    repro()
    assert git(clone, "status", "--porcelain") == ""
