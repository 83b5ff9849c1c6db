"""Loggers are told each epoch of a run once, however often it is stopped, and the run is the same for it."""

import pandas as pd
import pytest
from training_runs import CPU, assert_same_run, contents, run, until

from bpsta_cli.errors import BpstaWarning, SettingsError, TrainingError
from bpsta_cli.tracking import Ended, Row, followed
from bpsta_cli.training import Begun, EpochDone, train
from bpsta_cli.training.epoch import StepDone


class Recorder:
    """Remembers what it is told."""

    def __init__(self):
        self.runs, self.rows, self.ends = [], [], []

    def start(self, run):
        self.runs.append(run)
        self.rows = list(run.rows)

    def epoch(self, row):
        self.rows.append(row)

    def finish(self, end):
        self.ends.append(end)


class Broken(Recorder):
    """Fails in the epoch."""

    def epoch(self, row):
        raise OSError("the server is away")


def logged(settings, store, out, *loggers, **options):
    return followed(train(settings, store, out, device=CPU, **options), loggers, out)


def test_each_row_has_every_number_of_the_history_and_the_rates_of_each_layer(settings, digits, tmp_path):
    recorder = Recorder()
    list(logged(settings(), digits, tmp_path / "run", recorder))
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert [row.epoch for row in recorder.rows] == list(history["epoch"])
    assert [row.phase for row in recorder.rows] == list(history["phase"])
    for row, record in zip(recorder.rows, history.to_dict("records"), strict=True):
        numbers = {name: value for name, value in record.items() if name not in ("epoch", "phase") and value == value}
        assert row.scalars == pytest.approx(numbers, rel=1e-12)
    assert {"train_firing_rate/lif1", "train_firing_rate/lif2", "gradient_norm/conv1", "lr"} <= set(row.scalars)


def test_the_run_is_the_same_bytes_and_its_events_are_the_same(settings, digits, tmp_path):
    plain, events = run(settings(), digits, tmp_path / "plain")
    with_logger = list(logged(settings(), digits, tmp_path / "logged", Recorder()))
    assert_same_run(plain.path, tmp_path / "logged")
    assert [type(event) for event in with_logger] == [type(event) for event in events]


def test_a_start_names_the_run_its_settings_and_the_folder_to_write_into(settings, digits, tmp_path):
    recorder = Recorder()
    list(logged(settings(), digits, tmp_path / "run", recorder))
    (start,) = recorder.runs
    assert (start.name, start.logs, start.rows) == ("run", tmp_path / "run" / "logs", ())
    assert (start.settings["T"], start.settings["data.epochs"], start.settings["rule.alpha"]) == (3, 3, 0.2)
    assert not start.logs.exists()
    (end,) = recorder.ends
    assert end.state == "finished"
    assert end.metrics["accuracy"] == recorder.rows[-1].scalars["accuracy"]


@pytest.mark.parametrize(("kind", "count"), [(StepDone, 5), (EpochDone, 2)])
def test_a_run_that_goes_on_is_told_with_the_epochs_before_and_none_twice(settings, digits, tmp_path, kind, count):
    whole, first, second = Recorder(), Recorder(), Recorder()
    list(logged(settings(), digits, tmp_path / "whole", whole))
    until(logged(settings(), digits, tmp_path / "run", first), kind, count)
    assert first.ends == [Ended("stopped")]
    list(logged(settings(), digits, tmp_path / "run", second))
    assert [row.epoch for row in second.rows] == [0, 1, 2]
    assert second.rows == whole.rows
    assert_same_run(tmp_path / "whole", tmp_path / "run")


def test_a_finished_run_shows_its_curves_to_a_logger_that_comes_later(settings, digits, tmp_path):
    early, late = Recorder(), Recorder()
    list(logged(settings(), digits, tmp_path / "run", early))
    before = contents(tmp_path / "run")
    assert list(logged(settings(), digits, tmp_path / "run", late)) == []
    assert [(row.epoch, row.phase) for row in late.rows] == [(row.epoch, row.phase) for row in early.rows]
    assert late.ends == early.ends
    assert contents(tmp_path / "run") == before


def test_a_logger_that_fails_is_left_out_with_a_warning_and_costs_nothing(settings, digits, tmp_path):
    plain, _ = run(settings(), digits, tmp_path / "plain")
    broken, recorder = Broken(), Recorder()
    with pytest.warns(BpstaWarning, match="the logger Broken failed and is left out from here on: the server") as told:
        list(logged(settings(), digits, tmp_path / "run", broken, recorder))
    assert len(told) == 1
    assert broken.ends == []
    assert len(recorder.rows) == 3
    assert_same_run(plain.path, tmp_path / "run")


def test_a_logger_that_cannot_start_ends_the_command_before_anything_is_trained(settings, digits, tmp_path):
    class Away(Recorder):
        def start(self, run):
            raise ConnectionError("no route")

    events = logged(settings(), digits, tmp_path / "run", Away())
    with pytest.raises(SettingsError, match=r"the logger Away cannot start: .* ConnectionError: no route"):
        list(events)
    assert not (tmp_path / "run" / "history.csv").exists()
    assert len(list(logged(settings(), digits, tmp_path / "run"))) > 3


def test_a_run_that_diverges_is_told_as_failed(settings, digits, tmp_path):
    recorder = Recorder()
    with pytest.raises(TrainingError):
        list(logged(settings(training={"lr": 1e30}), digits, tmp_path / "run", recorder))
    assert recorder.ends == [Ended("failed")]


def test_a_number_that_is_none_or_not_finite_is_left_out_of_a_row():
    record = {"epoch": 1, "phase": "twin", "firing_rate": None, "loss": float("nan"), "accuracy": 0.5}
    assert Row.of(record) == Row(1, "twin", {"accuracy": 0.5})


def test_the_events_of_a_run_that_goes_on_hold_its_history(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU), EpochDone, 2)
    begun = next(event for event in train(settings(), digits, tmp_path / "run", device=CPU) if isinstance(event, Begun))
    assert [record["epoch"] for record in begun.history] == [0, 1]
