"""One run of the committed results, trained again: the same files, byte for byte."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
import yaml

from bpsta_cli.config import Params, RunSettings, validate
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.devices import resolve_device
from bpsta_cli.provenance import device_name, provenance
from bpsta_cli.training import train

ROOT = Path(__file__).parent.parent
RUN = "results/train/digits-stbp-T8-s0"


def committed(name):
    """A file as git's index has it: a user's own `make repro` may have rewritten it."""
    show = subprocess.run(["git", "show", f":{RUN}/{name}"], cwd=ROOT, check=True, capture_output=True, text=True)
    return show.stdout


def without_commit(text):
    """metrics.json as it is written, less what names the version of the code: it is the code that is tested."""
    content = json.loads(text)
    for key in ("commit", "code"):
        del content["provenance"][key]
    content["provenance"]["device"] = content["provenance"]["device"].split(" (")[0]
    return json.dumps(content, indent=2)


def words_of(device):
    """[machine, cores] of "cpu (x86_64, 2 cores)", and the instructions where they were written down."""
    return device.removesuffix(")").split(" (")[1].split(", ")


def test_the_committed_run_has_the_settings_of_params_yaml():
    show = subprocess.run(["git", "show", ":params.yaml"], cwd=ROOT, check=True, capture_output=True, text=True)
    params = validate(Params, yaml.safe_load(show.stdout), where="params.yaml")
    run = params.run(Path(RUN).name)
    wanted = RunSettings(
        **run.model_dump(exclude={"recipe"}),
        data=params.recipe_of(run.recipe),
        neuron=params.neuron,
        rule=params.rule_of(run.method),
        training=params.training,
    )
    assert validate(RunSettings, json.loads(committed("settings.json"))["settings"], where=RUN) == wanted


def test_a_committed_run_trained_again_gives_the_same_bytes(tmp_path):
    recorded = json.loads(committed("metrics.json"))["provenance"]
    here = provenance(device_name("cpu"), 1)
    for key in ("python", "libraries", "threads"):
        if recorded[key] != here[key]:
            pytest.skip(f"committed with {key} {recorded[key]}, here is {here[key]}")
    place, (machine, _, instructions) = words_of(recorded["device"]), words_of(here["device"])
    if place[0] != machine or instructions not in place[2:] + [instructions] * (len(place) < 3):
        pytest.skip(f"committed on {recorded['device']}, here is {here['device']}: the last digits differ")
    settings = validate(RunSettings, json.loads(committed("settings.json"))["settings"], where=RUN)
    store = prepared_store("digits", settings.data, T=8, data_dir=tmp_path / "data")
    for _ in train(settings, store, tmp_path / "run", device=resolve_device("cpu")):
        pass
    made = (tmp_path / "run" / "metrics.json").read_text()
    if json.loads(made)["provenance"]["kernel"] != recorded["kernel"]:
        pytest.skip("the compiled kernel is not the one of the committed run")
    assert torch.get_num_threads() == 1
    assert without_commit(made) == without_commit(committed("metrics.json"))
    assert (tmp_path / "run" / "history.csv").read_text() == committed("history.csv")
