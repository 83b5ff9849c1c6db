"""What a run keeps: the weights of the selected epoch, the metrics of those weights, and the last good epoch."""

import dataclasses
import hashlib

import pytest
import torch
from training_runs import CPU, history, network_state, run, state, until

from bpsta_cli.errors import RunError, TrainingError
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.training import EpochDone, loop, train
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir


@pytest.fixture
def scripted(monkeypatch):
    """Let the evaluations say what the test wants: `test` and `validation` accuracies, an epoch each."""

    def script(digits, *, test, validation=None):
        accuracies = {True: iter(test), False: iter(validation or [])}

        def scripted_evaluate(network, store, split, **options):
            accuracy = next(accuracies[split is digits.split("test")])
            return dataclasses.replace(evaluate(network, store, split, **options), accuracy=accuracy)

        monkeypatch.setattr(loop, "evaluate", scripted_evaluate)

    return script


@pytest.mark.parametrize(
    ("selection", "epoch"),
    [("final", 4), ("test", 2), ("validation", 3)],
)
def test_the_kept_epoch_is_the_one_that_the_selection_names(settings, digits, tmp_path, scripted, selection, epoch):
    # epoch 0 is the twin's and looks best by every measure; ties go to the earlier epoch
    scripted(digits, test=[0.9, 0.2, 0.5, 0.3, 0.5], validation=[0.99, 0.2, 0.1, 0.4, 0.4])
    chosen = settings(data={"epochs": 5}, training={"selection": selection})
    weights, out = {}, tmp_path / "run"
    for event in train(chosen, digits, out, device=CPU):
        if isinstance(event, EpochDone):
            weights[event.record["epoch"]] = network_state(out)
    metrics = RunDir(out).metrics()
    assert (metrics["selection"], metrics["selected_epoch"]) == (selection, epoch)
    assert metrics["accuracy"] == [0.9, 0.2, 0.5, 0.3, 0.5][epoch]
    kept = RunDir(out).weights()
    assert all(tensor.equal(weights[epoch][name]) for name, tensor in kept.items())


@pytest.mark.parametrize("selection", ["final", "test", "validation"])
def test_the_metrics_are_those_of_the_kept_weights(settings, digits, tmp_path, selection):
    done, _ = run(settings(data={"epochs": 4}, training={"selection": selection}), digits, tmp_path / "run")
    metrics, (_, network) = done.metrics(), done.network()
    seen = evaluate(network, digits, digits.split("test"), T=3, device=CPU)
    assert (metrics["accuracy"], metrics["firing_rate"]) == (seen.accuracy, seen.firing_rate)
    assert metrics["loss"] == pytest.approx(seen.loss)
    row = history(done.path).iloc[metrics["selected_epoch"]]
    assert (metrics["accuracy"], metrics["train_accuracy"]) == (row["accuracy"], row["train_accuracy"])
    assert (metrics["data_hash"], metrics["epochs"]) == (digits.content_hash, 4)
    assert (
        metrics["files"]["model.safetensors"]
        == hashlib.sha256((done.path / "model.safetensors").read_bytes()).hexdigest()
    )


def test_no_weights_are_kept_before_there_are_spikes(settings, digits, tmp_path):
    out = tmp_path / "run"
    until(train(settings(data={"warmup_epochs": 2}), digits, out, device=CPU), EpochDone, 2)
    with pytest.raises(RunError, match="no usable weights"):
        RunDir(out).weights()


def test_a_run_of_the_twin_keeps_the_twin(settings, digits, tmp_path):
    done, _ = run(settings(method="ann", data={"warmup_epochs": 0}), digits, tmp_path / "run")
    assert (history(done.path)["phase"] == "twin").all()
    assert (done.metrics()["firing_rate"], done.metrics()["selected_epoch"]) == (None, 2)


def test_epochs_between_evaluations_have_no_test_values_and_cannot_be_selected(settings, digits, tmp_path):
    chosen = settings(
        data={"epochs": 5, "warmup_epochs": 1},
        training={"evaluate_every": 3, "selection": "test"},
    )
    done, events = run(chosen, digits, tmp_path / "run")
    assert history(done.path)["accuracy"].notna().tolist() == [False, False, True, False, True]
    assert done.metrics()["selected_epoch"] in (2, 4)
    assert ["accuracy" in event.record for event in events if isinstance(event, EpochDone)] == [
        False,
        False,
        True,
        False,
        True,
    ]
    every, _ = run(settings(data={"epochs": 5, "warmup_epochs": 1}), digits, tmp_path / "every")
    assert history(every.path)["train_loss"].tolist() == history(done.path)["train_loss"].tolist()


def test_a_rate_far_too_high_ends_the_run_without_a_result(settings, digits, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match="training diverged"):
        run(settings(training={"lr": 1e30, "lr_warmup_epochs": 0}), digits, out)
    assert not RunDir(out).finished
    assert RunDir(out).checkpoints.files() == []


@pytest.mark.parametrize("step", [0, 1, 2])  # before the first step, in the middle, and after the last has been counted
def test_a_run_that_diverges_keeps_its_last_good_epoch(settings, digits, tmp_path, step):
    out, before = tmp_path / "run", None
    events = train(settings(data={"epochs": 4}), digits, out, device=CPU)

    def poisoned():
        nonlocal before
        for event in events:
            if isinstance(event, EpochDone) and event.record["epoch"] == 1:
                # the lock is there while the run is
                before = {f: f.read_bytes() for f in out.rglob("*") if f.is_file() and f.name != "run.lock"}
                poison = before if step == 0 else None
            else:
                poison = isinstance(event, StepDone) and (event.epoch, event.step) == (2, 3 if step == 2 else 1)
            if poison:
                network = events.gi_frame.f_locals["network"]
                with torch.no_grad():
                    network.layers.conv2.weight[0, 0, 0, 0] = float("nan")

    with pytest.raises(TrainingError, match="last good epoch is kept"):
        poisoned()
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert not RunDir(out).finished
    assert state(out)[1]["epoch"] == 2
