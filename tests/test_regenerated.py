"""One run of the committed results, trained and measured again: the same bytes, or nearly the same without kernels."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from bpsta_cli.config import Params, RunSettings, validate
from bpsta_cli.verification import read_record, store_of, tolerance, verify

ROOT = Path(__file__).parent.parent
NAME = "digits-stbp-T4-s0"
RUN = f"results/train/{NAME}"
FILES = [
    *(f"{RUN}/{file}" for file in ("settings.json", "metrics.json", "history.csv")),
    *(f"results/{kind}/{NAME}.json" for kind in ("eval", "energy", "latency")),
]


def committed(path):
    """A file as git's index has it: a user's own `make repro` may have rewritten it."""
    return subprocess.run(["git", "show", f":{path}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def figures(run):
    return tolerance.figures(json.loads(committed(f"{run}/metrics.json")), committed(f"{run}/history.csv"))


def test_the_committed_run_has_the_settings_of_params_yaml():
    params = validate(Params, yaml.safe_load(committed("params.yaml")), where="params.yaml")
    run = params.run(NAME)
    wanted = params.settings_of(run)
    assert validate(RunSettings, json.loads(committed(f"{RUN}/settings.json"))["settings"], where=RUN) == wanted


def test_a_committed_run_comes_out_as_promised(tmp_path):
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(committed(file))
    record = read_record(tmp_path / RUN)
    verdict = verify(record, store_of(record, tmp_path), device=torch.device("cpu"), data_dir=tmp_path)
    assert verdict.too_far == {}
    assert verdict.holds, (verdict.differences, verdict.changed)


@pytest.mark.parametrize(
    ("run", "other", "figure"),
    [
        (NAME, "digits-stbp-T4-s1", "first loss"),
        (NAME, "digits-bpsta-T4-s0", "first loss with spikes"),
        ("digits-bpsa-T4-s0", "digits-bpsta-T4-s0", "firing rate"),
        # on the digits and the speech stbp and bpsa, which learn at nearly the same rate, are within it
        ("synthetic-gestures-stbp-T4-s0", "synthetic-gestures-bpsa-T4-s0", "firing rate"),
    ],
)
def test_a_run_of_another_seed_or_rule_is_outside_of_the_tolerance(run, other, figure):
    assert figure in tolerance.too_far(figures(f"results/train/{run}"), figures(f"results/train/{other}"))
