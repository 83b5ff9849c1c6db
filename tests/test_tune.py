"""pipelines/tune.py, match.py and trials.py: what a trial trains and is told by, and that all of them are kept."""

import csv
import json
import math
from pathlib import Path

import pytest
import yaml
from grid import Trained
from match import match, nearest, next_penalty
from test_pipeline import ROOT, script
from trials import Record, Row, Subject, best, outcome, train

from bpsta_cli import rules
from bpsta_cli.cli.main import run as bpsta
from bpsta_cli.config import Params, Space, load_params, validate
from bpsta_cli.errors import SettingsError

tune = script("tune")
ENTRY = {"network": "4C3-AP8-10Voting", "epochs": 4, "warmup_epochs": 1, "batch_size": 64, "train_samples": 100}
STUDY = {
    "methods": {"stbp": {"surrogate": "gaussian"}},
    "training": {"lr": 0.002, "evaluate_every": 2},
    "variants": {"narrow": {"method": "stbp", "rule": {"surrogate_width": 0.5}, "training": {"lr": 0.01}}},
    "datasets": {"digits": ENTRY},
}
SPACE = {
    "trials": 5,
    "startup": 2,
    "space": {"training": {"lr": [0.001, 0.1, "log"]}, "data": {"warmup_epochs": [0, 1, 2]}},
    "rules": {"stbp": {"surrogate_width": [0.5, 2.0, "linear"]}, "bpsa": {}},
}


def subject(method="stbp", seeds=(0,)):
    return Subject(validate(Params, STUDY, where=""), ("digits",), method, 2, seeds, Path("data"))


def space(**changes):
    return validate(Space, SPACE | changes, where="the space")


class Trainings:
    """Stands in for the processes: a run's validation accuracy is its learning rate, its rate 0.2 - weight decay."""

    def __init__(self, *, stop_after=math.inf, fails=()):
        self.names, self.stopped, self.stop_after, self.fails = [], False, stop_after, fails

    def stop(self):
        self.stopped = True

    def train(self, name, arguments, log):
        if len(self.names) >= self.stop_after:
            self.stopped = True
        if self.stopped:
            return Trained(0.0, finished=False)
        self.names.append(name)
        options = dict(zip(arguments[::2], arguments[1::2], strict=True))
        if options["--run"] in self.fails:
            return Trained(1.0, "it diverged", finished=False)
        study = load_params(Path(options["--params"]))
        settings = study.settings_of(study.run(options["--run"]))
        write_run(Path(options["--out"]), settings.training.lr, 0.2 - settings.training.weight_decay)
        return Trained(1.0)


def write_run(folder, value, rate):
    folder.mkdir(parents=True, exist_ok=True)
    columns = ["epoch", "accuracy", "firing_rate", "validation_accuracy", "validation_firing_rate"]
    head = ",".join([*columns, "train_firing_rate/a", "train_firing_rate/b"])
    (folder / "history.csv").write_text(f"{head}\n0,0.9,0.9,0.9,0.9,0.9,0.9\n1,0.8,0.8,{value},{rate},0.3,0.1\n")
    (folder / "timings.json").write_text(json.dumps({"epoch_seconds": [1.5, 2.0]}))


def test_a_trial_is_told_by_the_last_epoch_of_the_validation_part(tmp_path):
    write_run(tmp_path, 0.25, 0.125)
    assert outcome(tmp_path) == {"value": 0.25, "firing_rate": 0.125, "lowest_layer_rate": 0.1, "seconds": 3.5}


def test_a_real_run_of_a_trials_settings_has_what_a_trial_is_told_by(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump(subject().params({"training.lr": 0.05, "data.epochs": 2})))
    (name,) = load_params(file).runs
    places = ["--out", str(tmp_path / "run"), "--data-dir", str(tmp_path / "data"), "--threads", "1"]
    assert bpsta(["train", "--params", str(file), "--run", name, *places]) == 0
    found = outcome(tmp_path / "run")
    assert 0 <= found["value"] <= 1
    assert 0 < found["firing_rate"] < 1
    assert 0 < found["lowest_layer_rate"] < 1
    history = list(csv.DictReader((tmp_path / "run" / "history.csv").read_text().splitlines()))
    assert [row["accuracy"] != "" for row in history] == [False, True]  # no epoch but the last is evaluated


def test_a_trial_changes_what_it_names_of_the_study_and_lets_nothing_choose_an_epoch():
    values = subject("narrow").params({"training.dropout": 0.1, "data.warmup_epochs": 2, "rule.surrogate_width": 2.0})
    study = validate(Params, values, where="")
    (run,) = study.runs.values()
    settings = study.settings_of(run)
    assert (settings.method, settings.variant) == ("stbp", "narrow")
    assert (settings.training.lr, settings.training.dropout, settings.data.warmup_epochs) == (0.01, 0.1, 2)
    assert settings.rule == {"surrogate": "gaussian", "surrogate_width": 2.0, "detach_reset": False}
    assert (settings.training.selection, settings.training.evaluate_every) == ("validation", 4)


def test_a_trial_of_several_seeds_is_their_mean_and_fails_with_one_of_them(tmp_path):
    row = Row(0, {"training.lr": 0.5})
    done = train(row, subject(seeds=(3, 4)), tmp_path, Trainings())
    assert (done.state, done.value, done.seconds, done.lowest_layer_rate) == ("finished", 0.5, 7.0, 0.1)
    failed = train(row, subject(seeds=(3, 4)), tmp_path, Trainings(fails=["digits-stbp-T2-s4"]))
    assert (failed.state, failed.problem) == ("failed", "it diverged")
    refused = train(Row(0, {"data.warmup_epochs": 4}), subject(), tmp_path, Trainings())
    assert refused.state == "failed"
    assert "must be less than epochs" in refused.problem


def test_every_trial_is_kept_as_it_was(tmp_path):
    rows = [Row(0, {"a": None, "b": True, "c": 0.1}, "finished", 0.5, 0.25, 0.125, 3.0), Row(1, {"a": "x"}, "failed")]
    record = Record(tmp_path / "trials.csv")
    for row in (Row(0, rows[0].settings), *rows):
        record.keep(row)
    again = Record(tmp_path / "trials.csv").rows
    assert again[0] == rows[0]
    assert (again[1].settings, again[1].state, again[1].problem) == ({"a": "x"}, "failed", "")
    assert math.isnan(again[1].value)


def test_the_best_trial_is_the_most_accurate_then_the_one_with_fewest_spikes():
    rows = [Row(0, {}, "finished", 0.5, 0.1), Row(1, {}, "finished", 0.6, 0.3), Row(2, {}, "finished", 0.6, 0.2)]
    assert best([*rows, Row(3, {}, "failed"), Row(4, {})]).number == 2
    assert best([Row(0, {}, "failed")]) is None


def test_a_search_makes_as_many_trials_as_the_space_says_and_finds_the_best(tmp_path):
    pytest.importorskip("optuna")
    trainings = Trainings()
    record = tune.search(space(), subject(), tmp_path, trainings, 2)
    assert sorted(trainings.names) == [f"stbp {number}, digits, seed 0" for number in range(5)]
    assert [row.state for row in record.rows] == ["finished"] * 5
    assert all(
        set(row.settings) == {"training.lr", "data.warmup_epochs", "rule.surrogate_width"} for row in record.rows
    )
    found = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert found["variants"]["stbp"]["training"]["lr"] == max(row.settings["training.lr"] for row in record.rows)
    assert set(found["datasets"]["digits"]) == {"warmup_epochs"}


def test_a_search_that_was_stopped_makes_the_trial_that_was_cut_short_and_no_more_than_the_budget(tmp_path):
    pytest.importorskip("optuna")
    first = tune.search(space(), subject(), tmp_path, Trainings(stop_after=2), 1)
    assert [row.state for row in first.rows] == ["finished", "finished", "running"]
    trainings = Trainings()
    whole = tune.search(space(), subject(), tmp_path, trainings, 1)
    assert trainings.names == [f"stbp {number}, digits, seed 0" for number in (2, 3, 4)]
    assert whole.rows[2].settings == first.rows[2].settings
    assert whole.rows[3].settings not in [row.settings for row in first.rows]
    assert [row.state for row in whole.rows] == ["finished"] * 5


def test_another_search_in_the_same_folder_is_refused(tmp_path):
    pytest.importorskip("optuna")
    tune.search(space(trials=1, startup=1), subject(), tmp_path, Trainings(), 1)
    with pytest.raises(SettingsError, match="another search"):
        tune.search(space(trials=2, startup=1), subject(), tmp_path, Trainings(), 1)


def test_a_space_names_settings_that_there_are():
    with pytest.raises(SettingsError, match=r"Did you mean dropout\?"):
        space(space={"training": {"drop_out": [0.1]}})
    with pytest.raises(SettingsError, match="a rule without a space"):
        space().of("bpsta")
    assert list(space().of("bpsa")) == ["training.lr", "data.warmup_epochs"]


def test_a_study_without_a_space_is_searched_only_in_a_file_of_its_own(tmp_path):
    study, file = validate(Params, STUDY, where=""), tmp_path / "space.yaml"
    with pytest.raises(SettingsError, match=r"no space to search: expected search in params\.yaml"):
        tune.chosen(None, study, Path("params.yaml"))
    file.write_text(yaml.safe_dump(SPACE | {"trials": 7}))
    assert tune.chosen(file, study, Path("params.yaml")).trials == 7
    searched = validate(Params, STUDY | {"search": SPACE}, where="")
    assert tune.chosen(None, searched, Path("params.yaml")) == searched.search


def test_the_committed_space_is_the_same_for_every_rule_beside_the_rules_own_settings():
    committed = load_params(ROOT / "pipelines" / "rules.yaml").search
    assert set(committed.rules) == {"stbp", "bpsa", "bpsta"}
    shared = [
        {name: values for name, values in committed.of(rule).items() if not name.startswith("rule.")}
        for rule in committed.rules
    ]
    assert all(each == shared[0] for each in shared)
    for rule, own in committed.rules.items():
        assert own.keys() <= {each.name for each in rules.settings_of(rules.find(rule))}


@pytest.mark.parametrize(
    ("rates", "following"),
    [
        ({}, 0.0),
        ({0.0: 0.1}, None),  # fires no more than that already
        ({0.0: 0.4}, 0.1),
        ({0.0: 0.4, 0.1: 0.3}, 0.4),
        ({0.0: 0.4, 0.1: 0.1}, 0.025),
        ({0.0: 0.4, 0.1: 0.3, 0.4: 0.1}, 0.2),
        ({0.0: 0.4, 0.1: 0.3, 0.4: 0.1, 0.9: 0.25}, 0.2),  # noise above does not widen what is known
    ],
)
def test_a_penalty_is_bracketed_and_then_halved_by_its_logarithm(rates, following):
    assert next_penalty(rates, 0.2) == (None if following is None else pytest.approx(following))


def test_the_penalty_is_found_whose_rate_is_near_the_one_wanted_and_a_stop_loses_none(tmp_path):
    what = {"first": 0.01, "tolerance": 0.02}  # the rate is 0.2 - penalty
    stopped = match(subject(), "weight_decay", 0.12, tmp_path, Trainings(stop_after=2), **what)
    assert [row.state for row in stopped.rows] == ["finished", "finished", "running"]
    trainings = Trainings()
    record = match(subject(), "weight_decay", 0.12, tmp_path, trainings, **what)
    assert trainings.names[0] == "stbp 2, digits, seed 0"
    found = nearest(record.rows, 0.12)
    assert found.settings["training.weight_decay"] == pytest.approx(0.08, abs=0.12 * 0.02)
    assert len(record.rows) == len({row.settings["training.weight_decay"] for row in record.rows})
    written = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert written["variants"]["stbp"]["training"] == {"weight_decay": found.settings["training.weight_decay"]}
    done = Trainings()
    match(subject(), "weight_decay", 0.12, tmp_path, done, **what)
    assert done.names == []


def test_a_search_for_a_penalty_ends_where_none_is_near_enough(tmp_path):
    record = match(subject(), "weight_decay", 0.12, tmp_path, Trainings(), tolerance=0.0, most=5, first=0.01)
    assert len(record.rows) == 5
