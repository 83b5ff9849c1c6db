"""A run that is asked to stop, or killed within an epoch, goes on at that step with the same bytes."""

import os
import signal

import pytest
import torch
from training_runs import CPU, assert_same_run, run, state, until

from bpsta_cli.cli.interruption import Interruption
from bpsta_cli.cli.main import run as command
from bpsta_cli.cli.progress import Bar
from bpsta_cli.training import Begun, EpochDone, Stopped, loop, train
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir

DROPOUT = {"network": "4C3-MP2-6C3-AP4-8FC-DP-2Voting", "augmentation": "standard"}


def stopped_after(settings, store, out, steps, **options):
    """Train until so many steps of this call are done and a stop is asked for; returns the events."""
    done = []
    events = train(settings, store, out, device=CPU, stop=lambda: len(done) >= steps, **options)
    found = []
    for event in events:
        found.append(event)
        done += [event] if isinstance(event, StepDone) else []
    return found


@pytest.mark.parametrize(
    ("data", "training"),
    [
        (DROPOUT, {"selection": "test"}),
        (DROPOUT, {"selection": "validation", "accumulate": 2, "norm": "per-step"}),
        (DROPOUT, {"recompute": True, "clip_norm": 0.1}),
        ({}, {"precision": "float16"}),
        ({}, {"convolution": "auto", "evaluate_every": 2}),
    ],
)
def test_a_run_stopped_at_every_other_step_ends_with_the_same_bytes(settings, digits, tmp_path, data, training):
    chosen = settings(data=data, training=training)
    whole, _ = run(chosen, digits, tmp_path / "whole")
    for _ in range(20):
        torch.manual_seed(99)
        found = stopped_after(chosen, digits, tmp_path / "broken", 2)
        if not isinstance(found[-1], Stopped):
            break
    assert_same_run(whole.path, tmp_path / "broken")
    assert RunDir(tmp_path / "broken").finished


def test_no_step_is_done_twice(settings, digits, tmp_path):
    seen = []
    for _ in range(20):
        events = stopped_after(settings(), digits, tmp_path / "run", 1)
        seen += [(event.epoch, event.step) for event in events if isinstance(event, StepDone)]
        if not isinstance(events[-1], Stopped):
            break
    assert seen == [(epoch, step) for epoch in range(3) for step in (1, 2, 3)]


def test_a_run_says_where_it_stops_and_where_it_goes_on(settings, digits, tmp_path):
    events = stopped_after(settings(), digits, tmp_path / "run", 5)
    assert events[-1] == Stopped(epoch=1, step=2)
    begun = next(train(settings(), digits, tmp_path / "run", device=CPU))
    assert (begun.epoch, begun.step, begun.warnings) == (1, 2, ())


def test_a_stop_while_an_epoch_is_evaluated_repeats_the_evaluation_alone(settings, digits, tmp_path, monkeypatch):
    whole, _ = run(settings(), digits, tmp_path / "whole")
    asked, real = [], loop._evaluate
    monkeypatch.setattr(loop, "_evaluate", lambda *a: asked.append(1) or real(*a))
    events = list(train(settings(), digits, tmp_path / "run", device=CPU, stop=lambda: len(asked) == 2))
    assert events[-1] == Stopped(epoch=1, step=3)
    monkeypatch.undo()
    _, events = run(settings(), digits, tmp_path / "run")
    assert [event.epoch for event in events if isinstance(event, StepDone)] == [2, 2, 2]
    assert [event.record["epoch"] for event in events if isinstance(event, EpochDone)] == [1, 2]
    assert_same_run(whole.path, tmp_path / "run")


def test_a_stop_after_the_last_epoch_finishes_the_run(settings, digits, tmp_path):
    history = tmp_path / "run" / "history.csv"

    def over():
        return history.exists() and len(history.read_text().splitlines()) == 4

    *_, last = train(settings(), digits, tmp_path / "run", device=CPU, stop=over)
    assert isinstance(last, EpochDone)
    assert RunDir(tmp_path / "run").finished


def test_checkpoints_are_written_within_an_epoch_when_it_is_time(settings, digits, tmp_path):
    whole, _ = run(settings(data=DROPOUT), digits, tmp_path / "whole")
    out = tmp_path / "run"
    until(train(settings(data=DROPOUT), digits, out, device=CPU, checkpoint_minutes=0), StepDone, 6)
    assert (state(out)[1]["epoch"], state(out)[1]["within"]["step"]) == (1, 2)  # the sixth was still to be written
    _, events = run(settings(data=DROPOUT), digits, out)
    assert isinstance(events[0], Begun)
    assert_same_run(whole.path, out)


def test_seldom_checkpoints_are_those_between_epochs(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU, checkpoint_minutes=10), StepDone, 5)
    assert [file.stem for file in RunDir(tmp_path / "run").checkpoints.files()] == ["epoch-000001-step-000000000"]


def test_the_newest_checkpoint_and_the_one_before_it_are_kept(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU, checkpoint_minutes=0), StepDone, 6)
    names = [file.stem for file in RunDir(tmp_path / "run").checkpoints.files()]
    assert names == ["epoch-000001-step-000000002", "epoch-000001-step-000000001"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    assert command(["prepare", "--dataset", "digits", "--data-dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_command_with_a_checkpoint_within_the_epoch_and_says_how_to_go_on(
    data, tmp_path, capsys, monkeypatch, number
):
    out, update, before = tmp_path / "run", Bar.update, signal.signal(number, signal.SIG_DFL)

    def interrupted(bar, done, total, label):
        if (done, label) == (4, "epoch 2/3"):
            os.kill(os.getpid(), number)
        update(bar, done, total, label)

    options = [*("--T", "2", "--network", "4C3-AP4-2Voting", "--epochs", "3", "--warmup-epochs", "0")]
    options += ["--train-samples", "90", "--batch-size", "30", "--dataset", "digits"]
    arguments = ["train", *options, "--data-dir", str(data), "--out", str(out)]
    try:
        with monkeypatch.context() as patch:
            patch.setattr(Bar, "update", interrupted)
            assert command(arguments) == 128 + number
    finally:
        signal.signal(number, before)
    said = " ".join(capsys.readouterr().err.split())
    assert f"stopped and kept after epoch 1 and 1 steps of the next; bpsta train --resume --out {out} goes on" in said
    assert state(out)[1]["within"]["step"] == 1
    assert command(arguments) == 0
    assert "the run there goes on after epoch 1 and 1 steps of the next" in capsys.readouterr().out
    assert command(arguments) == 0
    assert "is finished, by the same settings, data and code: nothing was trained" in capsys.readouterr().out


def test_a_second_signal_ends_at_once_and_an_ignored_one_stays_ignored():
    before = {signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not interruption.asked()
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGTERM)
            assert (interruption.asked(), interruption.exit_code) == (True, 143)
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
