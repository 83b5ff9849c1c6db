"""results/lite: tables, figures and page are what `bpsta report` makes of the runs' records beside them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli.config import load_params
from bpsta_cli.reporting import write_report
from bpsta_cli.training.run_directory import RunDir

ROOT = Path(__file__).parents[2]
LITE, PARAMS = ROOT / "results" / "lite", ROOT / "pipelines" / "lite.yaml"
RECORDS = ("train", "eval", "energy", "latency", "provenance.json")

pytestmark = pytest.mark.skipif(not LITE.is_dir(), reason="results/lite is not in this tree")


def test_the_tables_of_the_committed_runs_are_made_of_their_records(tmp_path):
    for name in RECORDS:
        source = LITE / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    write_report(tmp_path, PARAMS)
    committed = sorted(file.relative_to(LITE) for file in (LITE / "tables").iterdir())
    assert committed == sorted(file.relative_to(tmp_path) for file in (tmp_path / "tables").iterdir())
    assert [file for file in committed if (tmp_path / file).read_bytes() != (LITE / file).read_bytes()] == []
    assert (tmp_path / "provenance.json").read_bytes() == (LITE / "provenance.json").read_bytes()


def test_the_comparison_of_the_committed_runs_is_made_of_their_records(tmp_path):
    command = [sys.executable, "pipelines/compare.py", LITE / "train", "--margin", "0.5"]
    for baseline in ("stbp", "stbp-slow"):
        made = ["--baseline", baseline, "--out", tmp_path / baseline]
        subprocess.run([*command, *made], cwd=ROOT, check=True, capture_output=True)
    for name in ("runs.csv", "methods.md", "comparison.csv", "comparison.md", "over-data.csv", "front.csv"):
        assert (tmp_path / "stbp" / name).read_bytes() == (LITE / "comparison" / name).read_bytes(), name
    slow = LITE / "comparison" / "against-slow.md"
    assert (tmp_path / "stbp-slow" / "comparison.md").read_bytes() == slow.read_bytes()


def test_the_committed_runs_are_of_the_presets_settings_and_hold_no_weights():
    study = load_params(PARAMS)
    for folder in (LITE / "train").iterdir():
        assert RunDir(folder).info().settings == study.settings_of(study.run(folder.name))
        assert sorted(file.name for file in folder.iterdir()) == ["history.csv", "metrics.json", "settings.json"]
