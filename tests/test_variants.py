"""A variant of params.yaml stands where a method does: what it sets, what it leaves, and what is refused."""

import json

import pytest
import yaml

from bpsta_cli.cli.main import run
from bpsta_cli.config import Params, validate
from bpsta_cli.errors import SettingsError

ENTRY = {"network": "4C3-AP8-10Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 64, "train_samples": 100}
NAME = "digits-narrow-T2-s3"
PARAMS = {
    "measured": {NAME: {"dataset": "digits", "recipe": "digits", "method": "narrow", "T": 2, "seed": 3}},
    "methods": {"stbp": {"surrogate": "gaussian", "surrogate_width": 1.0}},
    "training": {"lr": 0.002, "dropout": 0.25},
    "variants": {"narrow": {"method": "stbp", "rule": {"surrogate_width": 0.5}, "training": {"lr": 0.01}}},
    "datasets": {"digits": ENTRY},
}


def params(**changes):
    return validate(Params, PARAMS | changes, where="params.yaml")


def refusal(**changes):
    with pytest.raises(SettingsError) as caught:
        params(**changes)
    return caught.value


def test_a_variant_changes_what_it_names_and_nothing_else():
    study = params()
    rule = study.rule_of("narrow")
    assert (rule["surrogate"], rule["surrogate_width"]) == ("gaussian", 0.5)
    assert study.training_of("narrow") == study.training.model_copy(update={"lr": 0.01})
    assert (study.rule_of("stbp")["surrogate_width"], study.training_of("stbp").lr) == (1.0, 0.002)


def test_a_variant_may_be_called_after_its_own_rule_and_after_no_other():
    own = params(variants={"stbp": {"method": "stbp", "training": {"lr": 0.5}}, "narrow": {"method": "bpsa"}})
    assert own.training_of("stbp").lr == 0.5
    assert refusal(variants={"bpsa": {"method": "stbp"}}).problem == "misleading name in params.yaml"
    assert refusal(variants={"ann": {"method": "stbp"}}).problem == "misleading name in params.yaml"


@pytest.mark.parametrize(
    ("variant", "got", "todo"),
    [
        ({"method": "stpb"}, "'stpb'", "Did you mean stbp?"),
        ({"method": "stbp", "trainning": {}}, "variants.narrow.trainning", "Did you mean training?"),
        ({"method": "stbp", "training": {"drop_out": 0}}, "variants.narrow.training.drop_out", "Did you mean dropout?"),
        ({"method": "stbp", "training": {"lr": -1}}, "-1", "Correct lr."),
        (
            {"method": "stbp", "rule": {"surogate": "sigmoid"}},
            "variants.narrow.rule.surogate",
            "Did you mean surrogate?",
        ),
        (
            {"method": "bpsa", "rule": {"alpha": 0.1}},
            "variants.narrow.rule.alpha",
            "Remove it or correct its spelling.",
        ),
        ({"method": "ann"}, "'ann'", "Name the rule that it is a variant of."),
    ],
)
def test_a_mistake_in_a_variant_is_refused_by_its_place(variant, got, todo):
    error = refusal(variants={"narrow": variant})
    assert (error.got, error.todo) == (got, todo)


@pytest.mark.parametrize("name", ["../x", "a.b", "A", ""])
def test_a_variants_name_is_a_name(name):
    assert refusal(variants={"narrow": {"method": "stbp"}, name: {"method": "stbp"}}).problem.startswith(
        "unusable name"
    )


def test_a_line_with_a_method_that_is_none_is_refused_with_the_nearest():
    error = refusal(variants={"narrower": {"method": "stbp"}})
    assert error.expected.startswith(f"{NAME}.method: one of ")
    assert error.todo == "Did you mean narrower?"


def test_a_run_of_a_variant_is_trained_and_recorded_as_one(tmp_path):
    file, out = tmp_path / "params.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(PARAMS))
    places = ["--out", str(out), "--data-dir", str(tmp_path / "data"), "--threads", "1"]
    assert run(["train", "--params", str(file), "--run", NAME, *places]) == 0
    found = json.loads((out / "settings.json").read_text())["settings"]
    assert (found["method"], found["variant"]) == ("stbp", "narrow")
    assert (found["training"]["lr"], found["training"]["dropout"], found["rule"]["surrogate_width"]) == (
        0.01,
        0.25,
        0.5,
    )
    assert params().settings_of(params().run(NAME)).model_dump() == found
    assert json.loads((out / "metrics.json").read_text())["method"] == "narrow"


def test_an_option_goes_before_the_variant_and_another_method_leaves_it(tmp_path):
    file, out = tmp_path / "params.yaml", tmp_path / "out"
    file.write_text(yaml.safe_dump(PARAMS))
    places = ["--out", str(out), "--data-dir", str(tmp_path / "data"), "--threads", "1"]
    named = ["train", "--params", str(file), "--run", NAME, *places]
    assert run([*named, "--lr", "0.03"]) == 0
    assert json.loads((out / "settings.json").read_text())["settings"]["training"]["lr"] == 0.03
    assert run([*named, "--method", "bpsa", "--overwrite"]) == 0
    found = json.loads((out / "settings.json").read_text())["settings"]
    assert (found["method"], found["variant"], found["training"]["lr"]) == ("bpsa", None, 0.002)
