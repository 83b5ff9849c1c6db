import copy
import dataclasses
import functools
import re

import pydantic
import pytest
import yaml

from bpsta_cli import rules
from bpsta_cli.config import (
    RECIPE,
    DatasetSettings,
    Params,
    Preparation,
    Run,
    RunSettings,
    TrainingSettings,
    load_params,
    validate,
)
from bpsta_cli.data import catalogue
from bpsta_cli.errors import SettingsError
from bpsta_cli.rules import registry

DATA = {"network": "small", "epochs": 20, "warmup_epochs": 2, "batch_size": 8}
RUN = {"dataset": "digits", "recipe": "digits", "method": "bpsta", "T": 8, "seed": 0}
PARAMS = {
    "measured": {"digits-bpsta-T8-s0": RUN},
    "train_only": {"digits-ann-T8-s0": RUN | {"method": "ann"}},
    "neuron": {"threshold": 0.5},
    "methods": {"bpsta": {"alpha": 0.3}},
    "training": {"lr": 0.001},
    "datasets": {"digits": DATA},
}


def refusal(model, values, where="params.yaml"):
    with pytest.raises(SettingsError) as caught:
        validate(model, values, where=where)
    return caught.value


def with_key(path, name, value=1):
    values = copy.deepcopy(PARAMS)
    inner = values
    for key in path:
        inner = inner[key]
    inner[name] = value
    return values


@pytest.mark.parametrize(
    ("path", "misspelt", "meant"),
    [
        ((), "trainning", "training"),
        (("measured", "digits-bpsta-T8-s0"), "datset", "dataset"),
        (("neuron",), "treshold", "threshold"),
        (("methods", "bpsta"), "alhpa", "alpha"),
        (("training",), "label_smothing", "label_smoothing"),
        (("datasets", "digits"), "epoch", "epochs"),
    ],
)
def test_a_misspelt_key_is_refused_at_every_depth_with_the_right_word(path, misspelt, meant):
    error = refusal(Params, with_key(path, misspelt))
    assert error.problem == "unknown key in params.yaml"
    assert error.got == ".".join((*path, misspelt))
    assert error.todo == f"Did you mean {meant}?"
    assert meant in error.expected


@pytest.mark.parametrize(
    ("path", "meant"), [(("data",), "network"), (("neuron",), "decay"), (("rule",), "alpha"), (("training",), "lr")]
)
def test_a_run_refuses_unknown_keys_of_every_part(path, meant):
    values = {"dataset": "digits", "data": DATA, "neuron": {}, "rule": {}, "training": {}}
    values[path[0]] = {**values[path[0]], "zzz": 1}
    error = refusal(RunSettings, values, "the settings")
    assert (error.got, error.todo) == (f"{path[0]}.zzz", "Remove it or correct its spelling.")
    assert meant in error.expected


@pytest.mark.parametrize(
    ("model", "key", "bad", "good"),
    [
        (TrainingSettings, "lr", 0, 1e-9),
        (TrainingSettings, "lr", float("inf"), 10),
        (TrainingSettings, "lr", float("nan"), 10),
        (TrainingSettings, "clip_norm", float("inf"), 1),
        (TrainingSettings, "clip_norm", 0, None),
        (TrainingSettings, "weight_decay", -1e-9, 0),
        (TrainingSettings, "label_smoothing", 1, 0.99),
        (TrainingSettings, "dropout", 1, 0),
        (TrainingSettings, "sgdr_period", 0, 1),
        (TrainingSettings, "schedule", "linear", "sgdr"),
        (TrainingSettings, "loss", "l1", "tet"),
        (TrainingSettings, "norm", "batch", "tdbn"),
        (TrainingSettings, "selection", "best", "test"),
        (TrainingSettings, "validation_fraction", 0, 0.5),
        (TrainingSettings, "warmup", "relu", "none"),
        (TrainingSettings, "silent_gradient", 0, 1),
        (TrainingSettings, "silent_gradient", "some", "all"),
        (TrainingSettings, "silent_gradient", True, 999_999_999),
        (TrainingSettings, "silent_gradient", 1.5, 1),
        (TrainingSettings, "silent_tau", 0.9, 1),
        (TrainingSettings, "silent_width", 0, 0.01),
        (TrainingSettings, "initial_rate", 0, None),
        (TrainingSettings, "initial_rate", 1, 0.99),
        (TrainingSettings, "right_rate", 1.01, 1),
        (TrainingSettings, "wrong_rate", -0.01, 0),
        (TrainingSettings, "spike_penalty", -1e-9, 0),
    ],
)
def test_a_value_out_of_range_is_refused_and_one_at_its_edge_is_not(model, key, bad, good):
    error = refusal(model, {key: bad})
    assert error.expected.startswith(f"{key}: ")
    assert error.todo == f"Correct {key}."
    assert getattr(validate(model, {key: good}, where=""), key) == good


def test_a_number_of_epochs_may_come_as_text_as_on_a_command_line():
    assert TrainingSettings(silent_gradient="12").silent_gradient == 12


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"right_rate": 0.2, "wrong_rate": 0.2}, r"wrong_rate \(0.2\) must be less than right_rate \(0.2\)"),
        ({"loss": "one-sided", "label_smoothing": 0.1}, "label_smoothing must be 0 with loss one-sided"),
    ],
)
def test_settings_of_the_one_sided_loss_that_contradict_each_other_are_refused(values, reason):
    with pytest.raises(SettingsError, match=reason):
        validate(TrainingSettings, values, where="params.yaml")


@pytest.mark.parametrize(
    ("method", "key", "bad", "good"),
    [
        ("bpsta", "alpha", -0.1, 0),
        ("stbp", "surrogate", "triangle", "gaussian"),
        ("stbp", "surrogate_width", 0, 0.1),
    ],
)
def test_a_setting_of_a_rule_has_the_rules_limits_in_a_file_and_in_a_run(method, key, bad, good):
    error = refusal(Params, {**PARAMS, "methods": {method: {key: bad}}})
    assert error.problem == "unusable value in params.yaml"
    assert error.expected.startswith(f"methods.{method}.{key}: ")
    assert error.todo == f"Correct methods.{method}.{key}."
    run = {"dataset": "digits", "method": method, "data": DATA}
    assert refusal(RunSettings, {**run, "rule": {key: bad}}).todo == f"Correct rule.{key}."
    assert validate(RunSettings, {**run, "rule": {key: good}}, where="").rule[key] == good


def test_a_setting_of_another_rule_or_of_the_twin_is_refused():
    error = refusal(Params, {**PARAMS, "methods": {"bpsa": {"alpha": 0.1}}})
    assert (error.got, error.expected) == ("methods.bpsa.alpha", "no key there")
    assert refusal(Params, {**PARAMS, "methods": {"ann": {"alpha": 0.1}}}).got == "methods.ann.alpha"


def test_a_run_records_every_setting_of_its_rule_and_no_other():
    def rule(method, **given):
        return RunSettings(dataset="digits", method=method, data=DATA, rule=given).rule

    assert rule("bpsta") == {"alpha": 0.2}
    assert rule("bpsa") == rule("ann") == {}
    stbp = {"surrogate": "gaussian", "surrogate_width": 1.0, "detach_reset": False}
    assert rule("stbp", surrogate="gaussian") == stbp


def test_a_record_from_before_rules_owned_their_settings_is_read_as_the_rules_own():
    old = {"alpha": 0.3, "surrogate": "sigmoid", "surrogate_width": 2.0, "detach_reset": True}
    run = {"dataset": "digits", "data": DATA, "rule": old}
    assert RunSettings(**run, method="bpsta").rule == {"alpha": 0.3}
    assert RunSettings(**run, method="stbp").make_rule() == rules.STBP("sigmoid", 2.0, detach_reset=True)
    assert RunSettings(**run, method="ann").make_rule() is None


def test_a_rule_file_is_not_run_to_read_settings_and_completes_them_when_the_run_is_made(own_rule):
    run = RunSettings(dataset="digits", method=own_rule, data=DATA, rule={"leak": 0.3})
    assert run.rule == {"leak": 0.3}
    with pytest.raises(SettingsError, match=r"a rule file that was not named: expected .*--trust-rule FILE"):
        run.completed()
    assert rules.known(own_rule) is None
    rules.find(own_rule)
    assert run.completed().rule == {"leak": 0.3, "floor": 0.0}
    with pytest.raises(SettingsError, match=r"unusable leak: expected a finite number >= 0, got -1"):
        RunSettings.model_validate({**run.model_dump(), "rule": {}}).model_copy(
            update={"rule": {"leak": -1}}
        ).make_rule()


def test_an_old_record_of_a_rule_file_gives_it_those_of_the_four_that_it_has(own_rule):
    old = {"alpha": 0.2, "surrogate": "sigmoid", "surrogate_width": 2.0, "detach_reset": True}
    run = RunSettings(dataset="digits", method=own_rule, data=DATA, rule=old)
    rules.find(own_rule)
    assert run.completed().rule == {"leak": 0.1, "floor": 0.0}


def test_a_rule_file_has_its_settings_in_params_yaml_by_its_path_or_by_its_name(own_rule):
    by_path = validate(Params, {**PARAMS, "methods": {own_rule: {"leak": 0.3}}}, where="")
    by_name = validate(Params, {**PARAMS, "methods": {"own": {"leak": 0.4}}}, where="")
    assert by_path.rule_of(own_rule) == {"leak": 0.3}
    assert rules.known(own_rule) is None
    assert by_name.rule_of(own_rule) == {"leak": 0.4}


@pytest.fixture
def own_rule(tmp_path, monkeypatch):
    """The path of a file with a rule `own`, which is forgotten after the test."""
    monkeypatch.setattr(registry, "_rules", dict(registry._rules))
    file = tmp_path / "own.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom bpsta_cli import rules\n"
        "@rules.register\n@dataclass(frozen=True)\nclass Own(rules.BPSA):\n"
        "    name = 'own'\n    leak: float = rules.setting(0.1, 'a leak', ge=0)\n    floor: float = 0.0\n"
    )
    return str(file)


@pytest.mark.parametrize(
    ("key", "bad", "good"),
    [("T", 0, 1), ("T", 10_001, 10_000), ("T", 2.5, 2), ("seed", -1, 0), ("seed", 2**31, 2**31 - 1)],
)
def test_time_steps_and_seeds_have_limits(key, bad, good):
    values = {"dataset": "digits", "data": DATA}
    assert key in refusal(RunSettings, {**values, key: bad}).expected
    assert getattr(RunSettings.model_validate({**values, key: good}), key) == good


@pytest.mark.parametrize("key", ["threshold", "decay"])
def test_neuron_constants_have_limits(key):
    for bad in (-0.1, 0 if key == "threshold" else 1.1):
        assert key in refusal(Params, with_key(("neuron",), key, bad)).expected


def test_a_missing_key_is_named():
    error = refusal(DatasetSettings, {key: DATA[key] for key in DATA if key != "epochs"})
    assert (error.expected.split(":")[0], error.got) == ("epochs", "nothing")


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ((), "cells", "measured"),
        ((), "trained", "train_only"),
        (("train_only", "digits-ann-T8-s0"), "settings", "recipe"),
    ],
)
def test_a_key_of_an_older_file_is_refused_with_the_key_that_took_its_place(path, old, new):
    values = with_key(path, old)
    inner = functools.reduce(dict.__getitem__, path, values)
    inner[old] = inner.pop(new)
    error = refusal(Params, values)
    assert (error.problem, error.got) == ("unknown key in params.yaml", ".".join((*path, old)))
    assert error.todo == f"The key {old} is called {new} now: rename it."


def test_warm_up_must_leave_an_epoch_with_spikes():
    error = refusal(DatasetSettings, {**DATA, "epochs": 4, "warmup_epochs": 4})
    assert "warmup_epochs (4) must be less than epochs (4)" in error.expected
    assert validate(DatasetSettings, {**DATA, "epochs": 4, "warmup_epochs": 3}, where="").warmup_epochs == 3


def with_runs(**groups):
    return {**PARAMS, "measured": {}, "train_only": {}, **groups}


def test_a_line_is_called_after_what_it_runs():
    run = RUN | {"recipe": "digits-small", "T": 4, "seed": 7}
    assert Run.model_validate(run).name == "digits-small-bpsta-T4-s7"
    for group in ("measured", "train_only"):
        told = refusal(Params, with_runs(**{group: {"digits-bpsta-T8-s1": RUN}})).expected
        assert told == f"{group}: digits-bpsta-T8-s1 has to be called digits-bpsta-T8-s0, after what it runs"


@pytest.mark.parametrize(("key", "bad"), [("T", 0), ("seed", -1), ("method", "my/rule.py"), ("recipe", "a.b")])
def test_a_run_that_could_not_be_a_path_or_a_key_is_refused(key, bad):
    error = refusal(Params, with_runs(measured={"digits-bpsta-T8-s0": RUN | {key: bad}}))
    assert error.todo == f"Correct measured.digits-bpsta-T8-s0.{key}."


def test_the_twin_is_trained_and_not_measured():
    twin = {"digits-ann-T8-s0": RUN | {"method": "ann"}}
    assert "belongs under train_only" in refusal(Params, with_runs(measured=twin)).expected
    assert list(validate(Params, with_runs(train_only=twin), where="").runs) == ["digits-ann-T8-s0"]


def test_a_run_stands_once_and_with_a_recipe_of_its_data_set_alone():
    line = {"digits-bpsta-T8-s0": RUN}
    assert "in measured and in train_only" in refusal(Params, with_runs(measured=line, train_only=line)).expected
    other = {"mnist-bpsta-T8-s0": RUN | {"recipe": "mnist"}}
    assert "datasets has no such entry" in refusal(Params, with_runs(measured=other)).expected
    two = line | {"digits-bpsta-T8-s1": RUN | {"dataset": "mnist", "seed": 1}}
    assert "used for digits and mnist" in refusal(Params, with_runs(measured=two)).expected


def test_all_runs_may_be_switched_off():
    assert validate(Params, with_runs(), where="").runs == {}


def test_a_run_is_found_by_its_name_and_by_its_recipe():
    params = validate(Params, PARAMS, where="")
    assert params.run("digits-ann-T8-s0").method == "ann"
    assert [run.name for run in params.runs_with("digits")] == ["digits-bpsta-T8-s0", "digits-ann-T8-s0"]
    assert params.runs_with("mnist") == []
    with pytest.raises(SettingsError, match=r"got 'digits-bpsta-T8-s9'. Did you mean digits-bpsta-T8-s0\?"):
        params.run("digits-bpsta-T8-s9")


@pytest.mark.parametrize(
    ("epochs", "chosen", "rise"),
    [(500, None, 5), (50, None, 5), (49, None, 4), (10, None, 1), (9, None, 0), (9, 3, 3), (500, 0, 0)],
)
def test_the_learning_rate_rises_for_five_epochs_and_at_most_a_tenth(epochs, chosen, rise):
    values = {"dataset": "digits", "data": {**DATA, "epochs": epochs}, "training": {"lr_warmup_epochs": chosen}}
    assert RunSettings.model_validate(values).lr_warmup_epochs == rise


def test_settings_cannot_be_changed_after_they_were_checked():
    run = RunSettings.model_validate({"dataset": "digits", "data": DATA})
    for model, key in ((run, "T"), (run.training, "lr"), (run.data, "epochs"), (run.neuron, "decay")):
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(model, key, 1)


def test_a_file_gives_its_rules_and_data_sets_and_defaults_for_other_rules(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(PARAMS))
    params = load_params(file)
    assert params.recipe_of("digits").network == "small"
    assert params.rule_of("bpsta") == {"alpha": 0.3}
    assert params.rule_of("stbp") == {}
    with pytest.raises(SettingsError, match=r"one of digits .*got 'mnist'"):
        params.recipe_of("mnist")


def test_a_missing_settings_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(SettingsError, match=f"no such settings file|a regular file.*{re.escape(str(path))}"):
            load_params(path)


@pytest.mark.parametrize("content", [b"measured: [1, 2\nneuron: }", b"\xff\xfe\x00"])
def test_a_file_that_is_not_yaml_is_refused(tmp_path, content):
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="unreadable settings file"):
        load_params(file)


@pytest.mark.parametrize("content", ["", "just words", "- a\n- b\n"])
def test_a_file_of_another_form_is_refused(tmp_path, content):
    file = tmp_path / "params.yaml"
    file.write_text(content)
    with pytest.raises(SettingsError, match=r"unusable value in .*the whole"):
        load_params(file)


def test_a_misspelt_key_in_a_file_is_named_with_the_file(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(with_key(("training",), "lrr")))
    with pytest.raises(SettingsError, match=r"unknown key in .*params.yaml.*training.lrr. Did you mean lr\?"):
        load_params(file)


def test_a_data_set_and_a_number_of_steps_say_how_it_is_prepared():
    data = DatasetSettings(**DATA, split_by="time", size=16, resize="nearest", test_fraction=0.2, split_seed=3)
    expected = {"split_by": "time", "size": 16, "resize": "nearest", "test_fraction": 0.2, "split_seed": 3, "T": 4}
    assert data.preparation(4).model_dump() == expected
    assert DatasetSettings(**DATA).preparation(8) == Preparation(T=8)


def test_the_recipes_settings_are_those_of_the_catalogue():
    assert {field.name for field in dataclasses.fields(catalogue.Recipe)} == set(RECIPE)


def test_a_path_may_be_a_text(tmp_path):
    (tmp_path / "params.yaml").write_text("datasets: {}\n", encoding="utf-8")
    assert load_params(str(tmp_path / "params.yaml")) == load_params(tmp_path / "params.yaml")
