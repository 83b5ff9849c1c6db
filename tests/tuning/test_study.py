"""bpsta_cli/tuning: what is searched, what a trial is told by, and that a search goes on."""

import dataclasses
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from bpsta_cli.config import Params, Space, load_params, validate
from bpsta_cli.data.store import Split, Store
from bpsta_cli.errors import RunError, SettingsError
from bpsta_cli.training import Stopped
from bpsta_cli.training.run_directory import RunDir
from bpsta_cli.tuning import front
from bpsta_cli.tuning.held_out import without_test
from bpsta_cli.tuning.space import DEFAULT, check_values, chosen_space
from bpsta_cli.tuning.study import Step, Study, Trial

pytest.importorskip("optuna")
SPACE = {
    "trials": 3,
    "startup": 2,
    "space": {"training": {"lr": [0.005, 0.05, "log"], "spike_penalty": [0.0, 0.1]}},
    "rules": {"bpsta": {"alpha": [0.0, 0.5, "linear"]}},
}
EPOCH = {"epochs": 1, "warmup_epochs": 0, "network": "4C3-AP8-10Voting"}


@pytest.fixture
def base(settings):
    return settings(method="bpsta", data=EPOCH, T=2)


@pytest.fixture
def guarded(digits, monkeypatch):
    """The store of digits, whose test part nothing may ask for."""

    class Guarded(Store):
        def split(self, name):
            assert name != "test", "the test part was read"
            return super().split(name)

    return Guarded(digits.path, digits.manifest)


def study(base, out, **changes):
    return Study(base, validate(Space, SPACE | changes, where="the space"), out)


def told(trials):
    return [(each.number, each.state, each.settings, each.accuracy, each.firing_rate) for each in trials]


def test_a_search_is_runs_on_held_out_training_samples_and_the_test_part_is_never_read(base, guarded, tmp_path):
    search = study(base, tmp_path)
    list(search.run(guarded))
    trials = search.trials()
    assert [each.state for each in trials] == ["finished"] * 3
    train, held_out = (guarded.split("train"), without_test(guarded, search.base).split("test"))
    assert len(held_out) == 10
    assert {each.tobytes() for each in held_out.x[:]} <= {each.tobytes() for each in train.x[:]}
    for trial in trials:
        info, metrics = RunDir(trial.run).info(), RunDir(trial.run).metrics()
        assert info.settings.training.lr == trial.settings["training.lr"]
        assert info.settings.rule["alpha"] == trial.settings["rule.alpha"]
        assert "in place of the test part" in info.split
        assert info.data_hash != guarded.content_hash
        assert metrics["accuracy"] == trial.accuracy  # what stands for the test part is the held-out one
        assert 0 < trial.firing_rate < 1
        history = pd.read_csv(trial.run / "history.csv")
        assert history["validation_accuracy"].iloc[-1] == trial.accuracy


def test_the_samples_that_train_and_those_held_out_are_different_ones(base, digits):
    held_out = without_test(digits, study_settings(base))
    train, validation = held_out.split("train"), held_out.split("validation")
    assert len(train) + len(validation) == 96
    assert not set(rows(train)) & set(rows(validation))


def study_settings(base):
    return base.model_copy(update={"training": base.training.model_copy(update={"selection": "validation"})})


def rows(part: Split):
    return part.ids.tolist()


def test_a_stopped_search_goes_on_and_comes_to_what_one_without_a_stop_does(base, digits, tmp_path):
    whole = study(base, tmp_path / "whole")
    list(whole.run(digits))
    events = []

    def stop():  # after the first step of the second trial
        return isinstance(events[-1], Step) and events[-1].trial.number == 1

    for event in study(base, tmp_path / "part").run(digits, stop=stop):
        events.append(event)
    assert isinstance(events[-1], Step)
    assert isinstance(events[-1].event, Stopped)
    again = study(base, tmp_path / "part")
    assert [each.state for each in again.trials()] == ["finished", "running"]
    list(again.run(digits))
    assert told(again.trials()) == told(whole.trials())


def test_a_search_that_is_done_trains_nothing_and_a_larger_number_goes_on(base, digits, tmp_path):
    list(study(base, tmp_path).run(digits, trials=1))
    before = study(base, tmp_path).trials()
    assert list(study(base, tmp_path).run(digits, trials=1)) == []
    begun = [each for each in study(base, tmp_path).run(digits, trials=2) if isinstance(each, Trial)]
    assert [(each.number, each.state) for each in begun] == [(1, "running"), (1, "finished")]
    assert study(base, tmp_path).trials()[:1] == before


def test_settings_that_cannot_be_trained_fail_a_trial_and_the_search_goes_on(base, digits, tmp_path):
    search = study(base, tmp_path, space={"data": {"warmup_epochs": [1]}}, trials=2)
    list(search.run(digits))
    assert [each.state for each in search.trials()] == ["failed"] * 2
    assert (
        "must be less than epochs" in study(base, tmp_path, space={"data": {"warmup_epochs": [1]}}).trials()[0].problem
    )


def test_a_trial_that_was_killed_before_it_had_its_settings_is_marked_as_failed(base, digits, tmp_path):
    study(base, tmp_path)._study.ask()
    search = study(base, tmp_path, trials=2)
    list(search.run(digits))
    assert [each.state for each in search.trials()] == ["failed", "finished"]


def test_a_record_that_cannot_be_opened_is_named(base, tmp_path):
    study(base, tmp_path)
    (tmp_path / "trials.sqlite").write_bytes(b"no record" * 100)
    with pytest.raises(RunError, match=r"trials\.sqlite"):
        study(base, tmp_path)


def test_another_search_in_the_same_folder_is_refused(base, tmp_path):
    study(base, tmp_path)
    study(base, tmp_path, trials=9)
    with pytest.raises(SettingsError, match=r"another search: .*got seed \(0 there, 1 asked for\)\."):
        study(base, tmp_path, seed=1)
    longer = base.model_copy(update={"data": base.data.model_copy(update={"epochs": 2})})
    with pytest.raises(SettingsError, match=r"settings\.data\.epochs \(1 there, 2 asked for\)"):
        study(longer, tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("space: {training: {lrr: [0.1, 0.2]}}", "Did you mean lr?"),
        ("space: {training: {selection: [test, final]}}", "leaves all trials the same samples"),
        ("space: {data: {train_samples: [10, 20]}}", "leaves all trials the same samples"),
        ("space: {training: {lr: [0.1, 0.01, log]}}", "0 < low <= high"),
        ("space: {training: {lr: []}}", "0 < low <= high"),
        ("space: {training: {lr: [[1]]}}", "numbers, words"),
        ("space: {neuron: {decay: [0.5]}}", "space.neuron"),
        ("space: {}\nmore: 1", "unknown key"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_with_its_key(text, said, tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(f"trials: 2\nstartup: 1\nrules: {{bpsta: {{}}}}\n{text}\n")
    with pytest.raises(SettingsError) as refused:
        chosen_space(file, None, "bpsta")
    assert said in str(refused.value)
    study = tmp_path / "params.yaml"
    study.write_text(f"datasets: {{}}\nsearch:\n{textwrap.indent(file.read_text(), '  ')}")
    with pytest.raises(SettingsError) as refused:
        load_params(study)
    assert said.replace("space.neuron", "search.space.neuron") in str(refused.value)
    assert str(study) in str(refused.value)


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"space": {"training": {"lr": [0.1, 0.2, "logg"]}}}, "training.lr cannot have"),
        ({"space": {"training": {"lr": [-0.1, 0.2, "linear"]}}}, "greater than 0, got -0.1"),
        ({"space": {"training": {"loss": ["mse", "ms"]}}}, "got 'ms'"),
        ({"rules": {"bpsta": {"alpha": [0.1, -1]}}}, "rule.alpha cannot have"),
    ],
)
def test_a_value_that_a_setting_cannot_have_is_refused_before_a_trial_is_trained(base, space, said):
    with pytest.raises(SettingsError, match=said):
        check_values(validate(Space, SPACE | space, where="the space"), base)


def test_values_that_go_together_with_others_of_the_space_are_none_to_refuse(base):
    space = {"space": {"data": {"epochs": [1, 3], "warmup_epochs": [0, 2]}}}
    check_values(validate(Space, SPACE | space, where="the space"), base)


def test_a_setting_that_the_rule_does_not_have_is_refused_and_an_absent_file_named(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text("trials: 2\nstartup: 1\nspace: {}\nrules: {bpsta: {alfa: [0.1]}}\n")
    with pytest.raises(SettingsError, match=r"Did you mean alpha\?"):
        chosen_space(file, None, "bpsta")
    with pytest.raises(SettingsError, match="unusable space of settings"):
        chosen_space(tmp_path / "none.yaml", None, "bpsta")


def test_a_file_with_a_space_comes_before_the_studys_and_that_before_the_default_one(tmp_path):
    file, without = tmp_path / "space.yaml", validate(Params, {"datasets": {}}, where="")
    file.write_text(yaml.safe_dump(SPACE | {"trials": 5}))
    study = without.model_copy(update={"search": validate(Space, SPACE, where="")})
    assert chosen_space(file, study, "bpsta").trials == 5
    assert chosen_space(None, study, "bpsta") is study.search
    assert chosen_space(None, without, "bpsta") == chosen_space(None, None, "bpsta")
    assert list(chosen_space(None, None, "bpsta").space) == list(DEFAULT["space"])
    with pytest.raises(SettingsError, match="a rule without a space"):
        chosen_space(None, study, "stbp")


def test_the_demos_space_is_the_one_that_is_searched_where_no_file_is_named():
    demo = load_params(Path(__file__).parents[2] / "params.yaml").search
    assert demo == chosen_space(None, None, "bpsta")


def test_what_is_searched_changes_the_settings_of_no_run():
    run = {"digits-bpsta-T2-s0": {"dataset": "digits", "recipe": "digits", "method": "bpsta", "T": 2, "seed": 0}}
    values = {"measured": run, "datasets": {"digits": EPOCH | {"batch_size": 50}}}
    plain, searched = (validate(Params, values | more, where="") for more in ({}, {"search": SPACE}))
    assert searched.search is not None
    assert plain.settings_of(plain.run(next(iter(run)))) == searched.settings_of(searched.run(next(iter(run))))


def test_the_front_is_what_no_other_trial_beats():
    made = Trial(0, Path("trial-000"), {}, "finished")
    points = [(0.9, 0.3), (0.8, 0.1), (0.8, 0.2), (0.7, 0.1), (0.9, 0.3)]
    trials = [replace(made, number=n, accuracy=a, firing_rate=rate) for n, (a, rate) in enumerate(points)]
    failed = dataclasses.replace(made, number=9, state="failed")
    assert [each.number for each in front.front([*trials, failed])] == [1, 0, 4]
    assert np.isnan(failed.accuracy)
