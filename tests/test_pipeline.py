"""dvc.yaml against the package: a stage must run again when, and only when, what decides its numbers changes."""

from pathlib import Path

import grimp
import pytest
import yaml

from bpsta_cli.cli.presets import preset
from bpsta_cli.config import DatasetSettings, TrainingSettings, load_params

ROOT = Path(__file__).parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ENTRIES = {  # what each stage's command calls in the core
    "prepare": ["prepared"],
    "train": ["training", "prepared"],
    "eval": ["evaluation", "checkpoints", "prepared"],
    "energy": ["energy", "checkpoints", "prepared"],
    "latency": ["latency", "early_exit", "checkpoints", "prepared"],  # --no-clock: neither timing nor stepwise
    "report": ["reporting"],
}
DECIDES_NO_NUMBER = {"bpsta_cli", "bpsta_cli.errors", "bpsta_cli.files", "bpsta_cli.provenance"}


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("bpsta_cli")


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_exactly_the_modules_that_its_command_runs(stage, imports):
    needed = set()
    for entry in ENTRIES[stage]:
        name = f"bpsta_cli.{entry}"
        roots = {name} | {module for module in imports.modules if module.startswith(f"{name}.")}
        for root in roots:
            needed |= {root} | imports.find_upstream_modules(root)
    top_level = {".".join(module.split(".")[:2]) for module in needed} - DECIDES_NO_NUMBER
    declared = {
        dep.removesuffix(".py").replace("/", ".") for dep in STAGES[stage]["deps"] if dep.startswith("bpsta_cli")
    }
    assert declared == top_level


def test_params_yaml_is_valid_and_names_settings_for_every_data_set_of_its_grid():
    params = load_params(ROOT / "params.yaml")
    for dataset in params.grid.dataset:
        params.settings_of(dataset)


def test_params_yaml_spells_out_every_training_setting_so_that_a_changed_default_cannot_hide():
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert set(values["training"]) == set(TrainingSettings.model_fields)
    for settings in values["datasets"].values():
        assert set(settings) == set(DatasetSettings.model_fields)


@pytest.mark.parametrize("preset", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_a_valid_params_yaml(preset):
    params = load_params(preset)
    for dataset in params.grid.dataset:
        params.settings_of(dataset)


@pytest.mark.parametrize("name", ["demo", "mnist"])
def test_a_preset_trains_a_data_set_as_the_command_line_does_by_default(name):
    for dataset, settings in load_params(ROOT / "pipelines" / f"{name}.yaml").datasets.items():
        assert settings == preset(dataset)
