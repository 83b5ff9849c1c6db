"""dvc.yaml against the package: a stage must run again when, and only when, what decides its numbers changes."""

import importlib.util
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import grimp
import pytest
import torch
import typer
import yaml
from typer.testing import CliRunner

from bpsta_cli import provenance, training
from bpsta_cli.config import DatasetSettings, Params, TrainingSettings, load_params
from bpsta_cli.data import catalogue
from bpsta_cli.data.presets import preset
from bpsta_cli.errors import SettingsError
from bpsta_cli.training.run_network import network_of

ROOT = Path(__file__).parent.parent
NO_PRESETS = {"tuning"}
"""Other files of settings beside the presets."""
PRESETS = {each.stem: each for each in sorted((ROOT / "pipelines").glob("*.yaml")) if each.stem not in NO_PRESETS}
SCRIPTS = [each.stem for each in sorted((ROOT / "pipelines").glob("*.py")) if "def main(" in each.read_text()]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
ENTRIES = {"prepare": ["data.run_data"], "report": ["reporting"], "metrics": ["reporting"]}
"""What each stage's command calls in the core."""
DECIDING = {
    "training": (provenance.TRAINING, ["training", "data.run_data"]),
    "measurement": (  # --no-clock: neither timing nor stepwise
        provenance.MEASUREMENT,
        [
            *("measurement", "energy", "quantisation", "training.run_directory", "data.run_data"),
            *(f"evaluation.{name}" for name in ("accuracy", "accuracy_over_time", "early_exit")),
        ],
    ),
}
"""What is said to decide the numbers, and what the commands call in the core."""
BY_NAME = ("bpsta_cli.data.", "bpsta_cli.kernels.gpu.")
"""Where modules are found by their names, which the graph of imports does not show."""
OF_TRAINING = {"bpsta_cli.kernels.cpu.adamw", "bpsta_cli.network.initial_weights"}
"""Measured with their folders although they decide weights alone: with other weights all is measured again anyway."""
DECIDES_NO_NUMBER = {
    *("bpsta_cli", "bpsta_cli.checksums", "bpsta_cli.errors", "bpsta_cli.files", "bpsta_cli.locks"),
    *("bpsta_cli.machine", "bpsta_cli.provenance"),
    "bpsta_cli.devices",  # where, and how many samples at a time: what is computed has the same bits for any number
}


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "pipelines" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(name, *arguments):
    """What a script prints."""
    app = typer.Typer()
    app.command()(script(name).main)
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.output


def body(stage):
    """What a stage does, for each of its runs where it has any."""
    return STAGES[stage].get("do", STAGES[stage])


@pytest.fixture(scope="module")
def imports():
    return grimp.build_graph("bpsta_cli")


def needed(entries, imports):
    """The modules that these run, themselves among them."""
    found = set()
    for entry in entries:
        for root in below(f"bpsta_cli.{entry}", imports):
            found |= {root} | imports.find_upstream_modules(root)
    return found - DECIDES_NO_NUMBER


def below(name, imports):
    return {module for module in imports.modules if module == name or module.startswith(f"{name}.")}


@pytest.mark.parametrize("stage", ENTRIES)
def test_a_stage_depends_on_exactly_the_modules_that_its_command_runs(stage, imports):
    top_level = {".".join(module.split(".")[:2]) for module in needed(ENTRIES[stage], imports)}
    declared = {dep.removesuffix(".py").replace("/", ".") for dep in body(stage)["deps"] if dep.startswith("bpsta_cli")}
    assert declared == top_level


@pytest.mark.parametrize(("parts", "entries"), DECIDING.values(), ids=DECIDING)
def test_what_decides_numbers_is_exactly_the_modules_that_the_commands_run(parts, entries, imports):
    named = set()
    for part in parts:
        modules = below("bpsta_cli." + part.removesuffix(".py").replace("/", "."), imports)
        assert modules & needed(entries, imports), part
        named |= modules
    packages = {module for module in named if (ROOT / module.replace(".", "/")).is_dir()}  # they lead to their modules
    missing, idle = needed(entries, imports) - named, named - needed(entries, imports) - packages
    assert missing == set()
    assert {module for module in idle - OF_TRAINING if not module.startswith(BY_NAME)} == set()


@pytest.mark.parametrize("stage", ["code-train", "code-measure"])
def test_any_change_of_the_package_has_its_hashes_made_anew(stage):
    assert STAGES[stage]["deps"] == ["bpsta_cli", "data/code/params.checked", "pipelines/digest.py"]


@pytest.mark.parametrize(
    ("stage", "code"), [("train", "train"), ("train", "measure"), ("train-only", "train"), ("train-only", "measure")]
)
def test_a_run_depends_on_the_hashes_of_its_modules(stage, code):
    assert f"data/code/{code}.sha256" in body(stage)["deps"]
    assert list(*STAGES[f"code-{code}"]["outs"]) == [f"data/code/{code}.sha256"]


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"methods": {"bpsta": {"alpha": 0.3}}}, {"runs/digits-bpsta-T8-s0.json"}),
        ({"variants": {"stbp": {"method": "stbp", "training": {"lr": 0.5}}}}, {"runs/digits-stbp-T8-s0.json"}),
        ({"neuron": {"threshold": 0.4}}, {"runs/digits-bpsta-T8-s0.json", "runs/digits-stbp-T8-s0.json"}),
        (
            {"datasets": {"digits": {"network": "small", "epochs": 2, "warmup_epochs": 1, "batch_size": 1, "size": 4}}},
            {"runs/digits-bpsta-T8-s0.json", "runs/digits-stbp-T8-s0.json", "recipes/digits.json"},
        ),
    ],
)
def test_a_change_of_params_yaml_changes_the_settings_of_the_stages_that_it_concerns_alone(change, changed):
    lines = {
        name: {"dataset": "digits", "recipe": "digits", "method": name.split("-")[1], "T": 8, "seed": 0}
        for name in ("digits-stbp-T8-s0", "digits-bpsta-T8-s0")
    }
    entry = {"network": "small", "epochs": 2, "warmup_epochs": 1, "batch_size": 1}
    values = {"measured": lines, "datasets": {"digits": entry}}
    settings = script("check_params").settings
    before = settings(Params.model_validate(values))
    after = settings(Params.model_validate(values | change))
    assert {name for name in before if before[name] != after[name]} == changed


def test_the_hashes_change_with_a_module_and_with_nothing_else(tmp_path, monkeypatch):
    package, digests = tmp_path / "package", script("digest").digests
    monkeypatch.setattr(provenance, "PACKAGE", package)
    decide = ("energy/a.py", "kernels/inner/b.cpp", "surrogates.py")
    others = ("cli/main.py", "energy/__pycache__/a.pyc", "errors.py", "kernels/README.md")
    for file in (*decide, *others):
        (package / file).parent.mkdir(parents=True, exist_ok=True)
        (package / file).write_text("1")
    first = digests("measurement")
    assert [line.split("  ")[1] for line in first.splitlines()] == [f"package/{file}" for file in decide]
    for file in others:
        (package / file).write_text("2")
    assert digests("measurement") == first
    before = digests("training")
    (package / "energy/a.py").write_text("2")
    assert digests("measurement") != first
    assert digests("training") == before
    (package / "kernels/inner/b.cpp").write_text("2")
    assert digests("training") != before


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_spells_out_every_setting_so_that_a_changed_default_cannot_hide(name):
    values = yaml.safe_load(PRESETS[name].read_text())
    assert set(values) == set(Params.model_fields)
    assert set(values["training"]) == set(TrainingSettings.model_fields)
    for settings in values["datasets"].values():
        assert set(settings) == set(DatasetSettings.model_fields) - {
            "channels"
        }  # left out where images stay as they are


FOLDERS = {"fsdd": ((1, 32, 16), 10), "cifar10": ((3, 32, 32), 10)}
"""Shapes and classes of what the presets read as folders of one's own, which say neither."""


@pytest.mark.parametrize("name", PRESETS)
def test_every_run_of_a_preset_could_be_trained(name):
    params = load_params(PRESETS[name])
    assert {run.recipe for run in params.runs.values()} == set(params.datasets)
    assert {run.method for run in params.runs.values()} <= params.methods.keys() | params.variants.keys()
    kinds = {(run.recipe, run.method): run for run in params.runs.values()}
    for run in kinds.values():
        settings, data = params.settings_of(run), params.recipe_of(run.recipe)
        training.check(settings)
        row = catalogue.get(run.dataset)
        shape, classes = FOLDERS.get(run.recipe, (row.shape, len(row.classes)))
        shape = shape if data.size is None else (shape[0], data.size, data.size)
        with torch.device("meta"):  # the structure fits the samples; no weights are made
            network_of(settings, shape, classes)


@pytest.mark.parametrize("name", PRESETS)
def test_a_stand_in_stands_for_a_data_set_that_the_preset_lacks(name):
    params = load_params(PRESETS[name])
    used = {run.dataset for run in params.runs.values()}
    for paper, here in params.stand_ins.items():
        assert catalogue.get(paper).name not in used
        assert here in used


def test_every_row_of_the_demo_has_three_seeds():
    rows = Counter((run.dataset, run.method, run.T) for run in load_params(PRESETS["demo"]).runs.values())
    assert set(rows.values()) == {3}
    methods = {dataset: {method for other, method, T in rows if (other, T) == (dataset, 4)} for dataset, _, _ in rows}
    every = {"ann", "stbp", "bpsa", "bpsta"}
    assert methods == dict.fromkeys(("digits", "synthetic-gestures", "synthetic-speech"), every)


def test_the_paper_preset_and_the_command_line_take_the_structure_that_the_paper_gives_a_data_set():
    text = {"mnist": "small", "cifar10": "middle", "cifar100": "middle", "n-mnist": "middle"}
    text |= {"dvs-gesture": "large", "dvs-cifar10": "large"}
    params = load_params(PRESETS["paper"])
    for dataset, structure in text.items():
        assert preset(dataset).network == structure
        runs = [run for run in params.runs.values() if run.dataset == dataset]
        assert runs
        networks = {params.recipe_of(run.recipe).network for run in runs}
        assert networks - {"resnet34"} == {structure}
        assert ("resnet34" in networks) == dataset.startswith("cifar")


def test_the_demo_needs_no_file_and_is_what_a_clone_begins_with():
    demo = load_params(PRESETS["demo"])
    assert all(catalogue.get(run.dataset).embedded for run in demo.runs.values())
    show = [
        subprocess.run(["git", "show", f":{file}"], cwd=ROOT, check=True, capture_output=True).stdout
        for file in ("params.yaml", "pipelines/demo.yaml")
    ]
    assert show[0] == show[1]


def test_the_lines_of_a_product_are_those_of_a_params_yaml(tmp_path):
    datasets = ["--dataset", "digits", "--dataset", "cifar10:cifar10-middle"]
    lines = printed("lines", *datasets, "--method", "stbp", "--method", "ann", "--T", "4", "--seed", "0", "--seed", "1")
    read = yaml.safe_load("train_only:\n" + lines)["train_only"]
    assert list(read)[:2] == ["digits-stbp-T4-s0", "digits-stbp-T4-s1"]
    entry = {"network": "small", "epochs": 2, "warmup_epochs": 1, "batch_size": 1}
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({"train_only": read, "datasets": {"digits": entry, "cifar10-middle": entry}}))
    assert load_params(file).run("cifar10-middle-ann-T4-s1").dataset == "cifar10"


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_has_a_help(name):
    assert "Usage:" in printed(name, "--help")


@pytest.fixture
def project(tmp_path):
    """dvc.yaml and the demo in a DVC project of their own, as DVC reads them."""
    from dvc.repo import Repo

    for file in ("dvc.yaml", "params.yaml", ".dvcignore"):
        (tmp_path / file).write_text((ROOT / file).read_text())
    return Repo.init(str(tmp_path), no_scm=True)


def test_dvc_reads_the_stages_that_make_repro_deals_out(project):
    repro, params = script("repro"), load_params(ROOT / "params.yaml")
    found = {stage.name for stage in project.index.stages}
    expected = {repro.stage_of(params, name) for name in params.runs}
    expected |= {f"prepare@{entry}" for entry in params.datasets}
    assert found == expected | {*repro.FIRST, *repro.LAST} - {"prepare"}


def commands(stages):
    for stage in stages.values():
        yield stage.get("do", stage)["cmd"]


def test_no_command_of_dvcs_holds_anything_of_params_yaml():
    for command in commands(STAGES):
        assert "$" not in command


HOSTILE = ("digits; touch X #", "$(touch X)", "`touch X`", "../../docs", "-h", "a\ntouch X", "A", "a--b", "a-", "")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_that_could_be_anything_else_is_refused(name, tmp_path):
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    values["datasets"][name] = values["datasets"]["digits"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError, match=r"unusable name in .*params\.yaml: expected datasets: small letters"):
        load_params(tmp_path / "params.yaml")
    with pytest.raises(SettingsError):
        script("stage").commands(f"prepare@{name}", load_params(ROOT / "params.yaml"))


def test_dvc_repro_runs_nothing_that_a_name_says_and_removes_nothing_that_it_names(project, tmp_path):
    for folder in ("bpsta_cli", "pipelines"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    values = yaml.safe_load((tmp_path / "params.yaml").read_text())
    for name in HOSTILE[:4]:
        values["datasets"][name] = values["datasets"]["digits"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(values))
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "kept").touch()
    for file in ("code/params.checked", *(f"settings/recipes/{name}.json" for name in HOSTILE[:2])):  # of other names
        (tmp_path / "data" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / file).touch()
    alone = ["--single-item", f"prepare@{HOSTILE[0]}", f"prepare@{HOSTILE[1]}"]
    for options in (alone, ["--keep-going"]):
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", *options], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode != 0
        assert "Error: unusable name in params.yaml: expected datasets: small letters" in done.stderr
    assert not (tmp_path / "X").exists()
    assert not (tmp_path / "data" / "stores").exists()
    assert (tmp_path / "docs" / "kept").exists()


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("prepare@digits", ["prepare --params params.yaml --recipe digits --out data/stores/digits"]),
        (
            "train@digits-bpsta-T4-s0",
            [
                "train --params params.yaml --run digits-bpsta-T4-s0",
                *(f"{each} results/train/digits-bpsta-T4-s0" for each in ("eval", "energy", "latency")),
            ],
        ),
        (
            "../dvc.yaml:train-only@digits-ann-T4-s0",
            [
                "train --params params.yaml --run digits-ann-T4-s0",
                "eval results/train/digits-ann-T4-s0 --out results/eval/digits-ann-T4-s0.json --bits auto",
            ],
        ),
        (
            "train-only@digits-stbp-T4-s0",
            ["train --params params.yaml --run digits-stbp-T4-s0", "eval results/train/digits-stbp-T4-s0"],
        ),
    ],
)
def test_a_stage_is_the_command_lines_that_its_name_says(stage, expected):
    lines = [" ".join(line) for line in script("stage").commands(stage, load_params(ROOT / "params.yaml"))]
    assert len(lines) == len(expected)
    for line, beginning in zip(lines, expected, strict=True):
        assert line.startswith(beginning)


@pytest.mark.parametrize("stage", ["", "report", "eval@digits-bpsta-T8-s0", "train@digits", "prepare@nowhere"])
def test_a_stage_that_there_is_not_is_refused(stage):
    with pytest.raises(SettingsError):
        script("stage").commands(stage, load_params(ROOT / "params.yaml"))


def test_what_python_compiles_is_no_change_of_the_package(project, tmp_path):
    (tmp_path / "bpsta_cli/data/__pycache__").mkdir(parents=True)
    for file in ("a.py", "__pycache__/a.pyc"):
        (tmp_path / "bpsta_cli/data" / file).write_text("1")
    found = {Path(file).name for file in project.dvcignore.find(project.fs, str(tmp_path / "bpsta_cli"))}
    assert found == {"a.py"}
