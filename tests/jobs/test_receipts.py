"""What makes a stage one that may be entered into DVC's books."""

from pathlib import Path

import cluster_project as project
import pytest
import receipts
import yaml
from small_studies import line, write_params

from bpsta_cli.config import load_params
from bpsta_cli.errors import SettingsError

ROOT = Path(__file__).parent.parent.parent
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", ["prepare", "train", "train-only"])
def test_a_receipt_names_the_files_that_dvc_keeps(stage, tmp_path):
    write_params(tmp_path / "params.yaml", [line("a", "stbp")], [line("a", "ann")], "a")
    name = {"prepare": "a", "train-only": "a-ann-T2-s0"}.get(stage, "a-stbp-T2-s0")
    named = receipts.outputs(f"{stage}@{name}", load_params(tmp_path / "params.yaml"))
    body = STAGES[stage]["do"]
    kept = [path.replace("${key}", name) for each in (*body["outs"], *body.get("plots", [])) for path in each]
    assert {str(path) for path in named} == ({"data/stores/a/T2.json"} if stage == "prepare" else set(kept))
    if stage == "prepare":
        assert kept == ["data/stores/a"]


def test_a_receipt_holds_for_these_settings_data_code_and_files_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_params(tmp_path / "params.yaml", [], [line("a", "ann")], "a")
    study, stage, receipt = load_params(Path("params.yaml")), "train-only@a-ann-T2-s0", Path("receipt")
    with pytest.raises(SettingsError, match="prepare@a is not made"):
        receipts.inputs(stage, receipts.present(study))
    store = Path("data/stores/a/T2.json")
    for file in (store, *receipts.outputs(stage, study)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    now = receipts.present(study)
    assert not receipts.holds(receipt, stage, now)
    receipts.write(receipt, stage, study, receipts.inputs(stage, now))
    assert receipts.holds(receipt, stage, now)
    other = study.model_copy(update={"neuron": study.neuron.model_copy(update={"decay": 0.5})})
    assert not receipts.holds(receipt, stage, receipts.present(other))
    with monkeypatch.context() as patch:
        patch.setattr(receipts, "digests", lambda what: "other code")
        assert not receipts.holds(receipt, stage, receipts.present(study))
    for file in (store, *receipts.outputs(stage, study)):
        before = file.read_text()
        file.write_text("other")
        assert not receipts.holds(receipt, stage, now)
        file.write_text(before)
    assert receipts.holds(receipt, stage, now)


@pytest.mark.parametrize(("T", "epochs", "same"), [(2, 9, True), (4, 2, False)])
def test_a_seed_or_an_epoch_more_makes_no_prepared_store_anew_and_other_time_steps_do(tmp_path, T, epochs, same):
    write_params(tmp_path / "a.yaml", [], [line("a", "ann")], "a")
    name, run = line("a", "ann", 1)
    more = (name.replace("T2", f"T{T}"), run | {"T": T})
    write_params(tmp_path / "b.yaml", [], [line("a", "ann"), more], "a", epochs=epochs)
    before, after = (
        receipts.inputs("prepare@a", receipts.present(load_params(tmp_path / file))) for file in ("a.yaml", "b.yaml")
    )
    assert (before == after) == same


def test_the_code_that_prepares_is_what_dvc_compares():
    deps = [dep for dep in STAGES["prepare"]["do"]["deps"] if dep.startswith("bpsta_cli/")]
    assert deps == [f"bpsta_cli/{part}" for part in receipts.PREPARING]


def test_what_is_entered_into_dvc_lock_is_unchanged_for_dvc_and_nothing_else_is(tmp_path, monkeypatch):
    from dvc.repo import Repo

    monkeypatch.chdir(tmp_path)
    for file in ("dvc.yaml", ".dvcignore"):
        Path(file).write_text((ROOT / file).read_text())
    preset = yaml.safe_load((ROOT / "params.yaml").read_text())
    runs = dict([line("digits", "ann", seed) for seed in (0, 1, 2)])
    Path("params.yaml").write_text(yaml.safe_dump({**preset, "measured": {}, "train_only": runs}, sort_keys=False))
    stages = [f"train-only@{name}" for name in runs]
    study = load_params(Path("params.yaml"))
    made = [path for stage in stages for path in receipts.outputs(stage, study)]
    code = ("code/train.sha256", "code/measure.sha256")
    needed = ["stores/digits/T2.json", *code, *(f"settings/runs/{name}.json" for name in runs)]
    for file in (*(Path("data") / each for each in needed), *made):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(file))
    Repo.init(no_scm=True).close()
    project.enter(stages[:2])
    with Repo() as repo:
        assert set(repo.status(targets=stages)) == {stages[2]}
