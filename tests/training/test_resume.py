"""An interrupted run goes on; whatever else lies in a run's directory is refused or replaced, as asked."""

import numpy as np
import pytest
import torch
from small_stores import write_store
from training_runs import CPU, assert_same_run, contents, run, until

from bpsta_cli.errors import RunError
from bpsta_cli.training import EpochDone, loop, train
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir


@pytest.mark.parametrize(
    ("kind", "count"), [(StepDone, 1), (StepDone, 5), (StepDone, 8), (EpochDone, 1), (EpochDone, 2), (EpochDone, 3)]
)
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(settings, digits, tmp_path, kind, count):
    chosen = settings(data={"network": "4C3-AP4-8FC-DP-2Voting"}, training={"selection": "test"})
    whole, _ = run(chosen, digits, tmp_path / "whole")
    out = tmp_path / "broken"
    until(train(chosen, digits, out, device=CPU), kind, count)
    assert not RunDir(out).finished
    torch.manual_seed(99)
    run(chosen, digits, out, resume=True)
    assert_same_run(whole.path, out)
    assert len(RunDir(out).timings()["epoch_seconds"]) == 3
    assert not (out / "checkpoints").exists()


@pytest.mark.parametrize(("kind", "count"), [(StepDone, 5), (EpochDone, 2)])
def test_an_interrupted_run_with_augmentation_goes_on_as_if_nothing_had_happened(
    settings, digits, tmp_path, kind, count
):
    chosen = settings(data={"augmentation": "standard"})
    whole, _ = run(chosen, digits, tmp_path / "whole")
    out = tmp_path / "broken"
    until(train(chosen, digits, out, device=CPU), kind, count)
    run(chosen, digits, out, resume=True)
    assert_same_run(whole.path, out)
    assert whole.info().settings.data.augmentation == "standard"


def test_resuming_repeats_no_finished_epoch(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU), EpochDone, 2)
    _, events = run(settings(), digits, tmp_path / "run", resume=True)
    assert [event.record["epoch"] for event in events if isinstance(event, EpochDone)] == [2]
    assert {event.epoch for event in events if isinstance(event, StepDone)} == {2}


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_of_the_same_settings_is_left_as_it_is(settings, digits, tmp_path, resume):
    done, _ = run(settings(), digits, tmp_path / "run", resume=resume)
    before = {file: file.stat().st_mtime_ns for file in done.path.iterdir()}
    _, events = run(settings(), digits, tmp_path / "run", resume=resume)
    assert events == []
    assert {file: file.stat().st_mtime_ns for file in done.path.iterdir()} == before


def test_what_a_kill_just_after_the_result_left_is_removed(settings, digits, tmp_path):
    done, _ = run(settings(), digits, tmp_path / "run")
    before = sorted(done.path.iterdir())
    (done.path / "checkpoints").mkdir()
    (done.path / "checkpoints" / "epoch-000003-step-000000000.safetensors").touch()
    (done.path / ".metrics.json.abcdefgh.partial").touch()
    assert run(settings(), digits, tmp_path / "run")[1] == []
    assert sorted(done.path.iterdir()) == before


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"T": 2}, r"T \(3 there, 2 asked for\)"),
        ({"seed": 5, "training": {"lr": 0.02}}, r"seed \(1 there, 5 asked for\), training.lr \(0.01 there, 0.02 asked"),
        ({"neuron": {"decay": 0.1}}, r"neuron.decay \(0.9 there, 0.1 asked for\)"),
        ({"data": {"epochs": 2}}, r"data.epochs \(3 there, 2 asked for\)"),
        ({"training": {"recompute": True}}, r"training.recompute \(false there, true asked for\)"),
    ],
)
def test_a_run_of_other_settings_is_not_continued_and_what_differs_is_named(settings, digits, tmp_path, other, what):
    out = tmp_path / "run"
    until(train(settings(), digits, out, device=CPU), EpochDone, 1)
    with pytest.raises(RunError, match=f"with another setting of {what}"):
        run(settings(**other), digits, out, resume=True)
    assert RunDir(out).info().settings == settings()


def test_a_run_of_other_data_or_code_is_not_continued(settings, digits, tmp_path, monkeypatch):
    out = tmp_path / "run"
    until(train(settings(), digits, out, device=CPU), EpochDone, 1)
    x, y = np.array(digits.split("train").x), digits.split("train").y
    other = write_store(tmp_path / "other", x, y, train=60, classes=10)
    with pytest.raises(RunError, match="with another data set"):
        run(settings(), other, out, resume=True)
    real = loop.provenance
    monkeypatch.setattr(loop, "provenance", lambda *a, **k: {**real(*a, **k), "code": "other"})
    with pytest.raises(RunError, match="with another version of the code"):
        run(settings(), digits, out, resume=True)
    (out / "provenance.json").unlink()
    with pytest.raises(RunError, match=r"another version of the code, or one that provenance\.json does not tell"):
        run(settings(), digits, out, resume=True)
    (out / "settings.json").write_text("{}")
    with pytest.raises(RunError, match=r"with another version's settings\.json"):
        run(settings(), digits, out, resume=True)


def test_a_finished_run_that_is_taken_to_another_machine_is_left_as_it_is(settings, digits, tmp_path, monkeypatch):
    done, _ = run(settings(), digits, tmp_path / "run")
    before, real = contents(done.path), loop.provenance
    elsewhere = {"commit": "another", "device": "cpu (another)", "machine": {"processor": "another"}, "threads": 9}
    monkeypatch.setattr(loop, "provenance", lambda *a, **k: {**real(*a, **k), **elsewhere})
    _, events = run(settings(), digits, done.path, resume=True)
    assert events == []
    assert contents(done.path) == before


def test_a_run_that_goes_on_elsewhere_says_where_it_began_and_is_the_same(settings, digits, tmp_path, monkeypatch):
    whole, _ = run(settings(), digits, tmp_path / "whole")
    out = tmp_path / "run"
    until(train(settings(), digits, out, device=CPU), EpochDone, 1)
    until(train(settings(), digits, out, device=CPU, resume=True), EpochDone, 1)
    here = RunDir(out).info().provenance
    assert "resumed_from" not in here
    real = loop.provenance
    monkeypatch.setattr(loop, "provenance", lambda *a, **k: {**real(*a, **k), "machine": {"processor": "another"}})
    done, _ = run(settings(), digits, out, resume=True)
    assert done.info().provenance == here | {"machine": {"processor": "another"}, "resumed_from": here}
    assert_same_run(whole.path, out)


@pytest.mark.parametrize("resume", [False, True])
def test_overwrite_leaves_nothing_of_the_run_before(settings, digits, tmp_path, resume):
    fresh, _ = run(settings(), digits, tmp_path / "fresh")
    until(train(settings(seed=5, data={"epochs": 9}), digits, tmp_path / "run", device=CPU), EpochDone, 4)
    over, events = run(settings(), digits, tmp_path / "run", overwrite=True, resume=resume)
    assert_same_run(fresh.path, over.path)
    assert len(over.timings()["epoch_seconds"]) == 3
    _, events = run(settings(), digits, tmp_path / "run", overwrite=True, resume=resume)
    assert sum(isinstance(event, EpochDone) for event in events) == 3


def test_overwrite_with_resume_goes_on_where_it_can(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU), EpochDone, 2)
    _, events = run(settings(), digits, tmp_path / "run", resume=True, overwrite=True)
    assert sum(isinstance(event, EpochDone) for event in events) == 1
