import numpy as np
import pandas as pd
import pytest
import torch
from conftest import write_store

from bpsta_cli.data.run_data import training_parts
from bpsta_cli.devices import resolve_device
from bpsta_cli.errors import DataError, RunError, SettingsError, TrainingError
from bpsta_cli.evaluation.accuracy import evaluate
from bpsta_cli.network import Network, losses
from bpsta_cli.training import EpochDone, check, epoch, loop, train
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir

CPU = torch.device("cpu")
SAME = ("settings.json", "model.safetensors", "history.csv", "metrics.json")
"""What an equal run leaves behind byte for byte; timings.json and state.pt's container are not of them."""


def run(settings, store, out, **options):
    events = list(train(settings, store, out, device=CPU, **options))
    return RunDir(out), events


def contents(out):
    return {name: (out / name).read_bytes() for name in SAME}


def history(out):
    return pd.read_csv(out / "history.csv")


def assert_same_run(one, other):
    assert contents(one) == contents(other)
    first, second = (RunDir(out).state() for out in (one, other))
    assert first.pop("history") == second.pop("history")
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def until(events, kind, count):
    """Take events up to the `count`-th of a kind, then stop as an interruption does."""
    seen = 0
    for event in events:
        seen += isinstance(event, kind)
        if seen == count:
            events.close()
            return
    raise AssertionError("the run was over before")


def test_the_same_settings_give_the_same_run_byte_for_byte(settings, digits, tmp_path):
    chosen = settings(data={"network": "4C3-AP4-8FC-DP-2Voting"})
    one, _ = run(chosen, digits, tmp_path / "one")
    torch.manual_seed(99)
    torch.rand(5)
    other, _ = run(chosen, digits, tmp_path / "other")
    assert_same_run(one.path, other.path)


def test_another_seed_gives_other_weights_and_another_order(settings, digits, tmp_path):
    first, _ = run(settings(data={"epochs": 1, "warmup_epochs": 0}), digits, tmp_path / "1")
    second, _ = run(settings(seed=2, data={"epochs": 1, "warmup_epochs": 0}), digits, tmp_path / "2")
    third, _ = run(settings(seed=2, init_from=str(first.path), training={"lr": 1e-12}), digits, tmp_path / "3")
    name = "layers.conv1.weight"
    assert not torch.allclose(first.weights()[name], second.weights()[name])
    torch.testing.assert_close(first.weights()[name], third.weights()[name])


@pytest.mark.parametrize("method", ["stbp", "bpsa", "bpsta", "ann"])
def test_training_lowers_the_loss(settings, digits, tmp_path, method):
    data = {"network": "16C3-MP2-16C3-AP4-5Voting", "epochs": 8, "warmup_epochs": 0, "batch_size": 16}
    done, _ = run(settings(method=method, data=data), digits, tmp_path / "run")
    losses = history(done.path)["train_loss"]
    assert losses.iloc[-1] < 0.95 * losses.iloc[0]
    assert done.finished


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


def batches_of(settings, store, out, monkeypatch):
    """Every training batch of a run, as (input, labels)."""
    seen, inputs, measure, see = [], [], losses.loss, Network.votes

    def votes(network, x):
        inputs.append(x)
        return see(network, x)

    def loss(kind, votes, labels, **options):
        if options:  # training names its label smoothing, evaluation has none
            seen.append((inputs[-1], labels.tolist()))
        return measure(kind, votes, labels, **options)

    with monkeypatch.context() as patch:
        patch.setattr(losses, "loss", loss)
        patch.setattr(Network, "votes", votes)
        run(settings, store, out)
    return seen


def test_augmentation_changes_the_images_of_every_epoch_and_no_label(settings, digits, tmp_path, monkeypatch):
    plain, changed = (
        batches_of(settings(data={"augmentation": name}), digits, tmp_path / name, monkeypatch)
        for name in ("none", "standard")
    )
    assert [labels for _, labels in plain] == [labels for _, labels in changed]
    assert len(plain) == 9
    assert not any(torch.equal(x, other) for (x, _), (other, _) in zip(plain, changed, strict=True))


def test_an_epoch_sees_the_same_images_whatever_the_batch_and_the_next_epoch_others(
    settings, digits, tmp_path, monkeypatch
):
    passes = {}
    for size, steps in ((40, 3), (96, 1)):
        data = {"augmentation": "standard", "batch_size": size, "epochs": 2}
        batches = batches_of(settings(data=data), digits, tmp_path / str(size), monkeypatch)
        passes[size] = [
            sorted(image.numpy().tobytes() for x, _ in batches[start : start + steps] for image in x[0])
            for start in (0, steps)
        ]
    assert passes[40] == passes[96]
    assert passes[40][0] != passes[40][1]


def test_an_augmented_image_is_still_held_once_for_all_steps(settings, digits, tmp_path, monkeypatch):
    batches = batches_of(settings(data={"augmentation": "standard"}), digits, tmp_path / "run", monkeypatch)
    assert {x.stride(0) for x, _ in batches} == {0}


def test_test_samples_are_never_augmented(settings, digits, tmp_path):
    done, _ = run(settings(data={"augmentation": "standard"}), digits, tmp_path / "run")
    _, network = done.network()
    x = torch.from_numpy(np.array(digits.split("test").x)) / 16
    votes = network.votes(x.expand(3, *x.shape)).detach()
    labels = torch.from_numpy(digits.split("test").y)
    assert done.metrics()["loss"] == pytest.approx(losses.loss("mse", votes, labels).item(), rel=1e-6)


def test_a_run_interrupted_before_the_clock_was_written_goes_on(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU), EpochDone, 1)
    (tmp_path / "run" / "timings.json").unlink()
    done, _ = run(settings(), digits, tmp_path / "run", resume=True)
    assert done.finished
    assert len(done.timings()["epoch_seconds"]) == 2


def test_resuming_repeats_no_finished_epoch(settings, digits, tmp_path):
    until(train(settings(), digits, tmp_path / "run", device=CPU), EpochDone, 2)
    _, events = run(settings(), digits, tmp_path / "run", resume=True)
    assert [event.record["epoch"] for event in events if isinstance(event, EpochDone)] == [2]
    assert {event.epoch for event in events if isinstance(event, StepDone)} == {2}


def test_resume_starts_where_there_is_no_run_and_leaves_a_finished_one(settings, digits, tmp_path):
    done, _ = run(settings(), digits, tmp_path / "run", resume=True)
    before = {file: file.stat().st_mtime_ns for file in done.path.iterdir()}
    _, events = run(settings(), digits, tmp_path / "run", resume=True)
    assert events == []
    assert {file: file.stat().st_mtime_ns for file in done.path.iterdir()} == before


def test_a_taken_directory_is_refused(settings, digits, tmp_path):
    done, _ = run(settings(), digits, tmp_path / "run")
    before = contents(done.path)
    with pytest.raises(RunError, match=r"the run directory is taken.*with a run"):
        run(settings(), digits, tmp_path / "run")
    assert contents(done.path) == before


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"T": 2}, "setting of T"),
        ({"seed": 5}, "setting of seed"),
        ({"training": {"lr": 0.02}}, "setting of training"),
        ({"neuron": {"decay": 0.1}}, "setting of neuron"),
        ({"data": {"epochs": 9}}, "setting of data"),
    ],
)
def test_a_run_of_other_settings_is_not_continued_and_what_differs_is_named(settings, digits, tmp_path, other, what):
    out = tmp_path / "run"
    until(train(settings(), digits, out, device=CPU), EpochDone, 1)
    with pytest.raises(RunError, match=f"with another {what}"):
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


@pytest.fixture
def scripted(monkeypatch):
    """Let the evaluations say what the test wants: `test` and `validation` accuracies, an epoch each."""

    def script(digits, *, test, validation=None):
        real = evaluate

        def told(network, store, split, **options):
            seen = real(network, store, split, **options)
            values = test if split is digits.split("test") else validation
            return training_result(seen, values[told.epoch[values is test]], told, values is test)

        told.epoch = [0, 0]
        monkeypatch.setattr(loop, "evaluate", told)

    def training_result(seen, accuracy, told, which):
        import dataclasses

        told.epoch[which] += 1
        return dataclasses.replace(seen, accuracy=accuracy)

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
            state = RunDir(out).state()
            weights[event.record["epoch"]] = {name: tensor.clone() for name, tensor in state["network"].items()}
    metrics = RunDir(out).metrics()
    assert (metrics["selection"], metrics["selected_epoch"]) == (selection, epoch)
    assert metrics["accuracy"] == [0.9, 0.2, 0.5, 0.3, 0.5][epoch]
    kept = RunDir(out).weights()
    assert all(tensor.equal(weights[epoch][name]) for name, tensor in kept.items())


@pytest.mark.parametrize("selection", ["final", "test", "validation"])
def test_the_metrics_are_those_of_the_kept_weights(settings, digits, tmp_path, selection):
    done, _ = run(settings(data={"epochs": 4}, training={"selection": selection}), digits, tmp_path / "run")
    metrics, (info, network) = done.metrics(), done.network()
    seen = evaluate(network, digits, digits.split("test"), T=3, device=CPU)
    assert (metrics["accuracy"], metrics["firing_rate"]) == (seen.accuracy, seen.firing_rate)
    assert metrics["loss"] == pytest.approx(seen.loss)
    row = history(done.path).iloc[metrics["selected_epoch"]]
    assert (metrics["accuracy"], metrics["train_accuracy"]) == (row["accuracy"], row["train_accuracy"])
    assert (metrics["data_hash"], metrics["epochs"]) == (digits.content_hash, 4)
    assert metrics["provenance"]["code"] == info.provenance["code"]


def test_no_weights_are_kept_before_there_are_spikes(settings, digits, tmp_path):
    out = tmp_path / "run"
    until(train(settings(data={"warmup_epochs": 2}), digits, out, device=CPU), EpochDone, 2)
    with pytest.raises(RunError, match="no usable weights"):
        RunDir(out).weights()


def test_a_run_of_the_twin_keeps_the_twin(settings, digits, tmp_path):
    done, _ = run(settings(method="ann", data={"warmup_epochs": 0}), digits, tmp_path / "run")
    assert (history(done.path)["phase"] == "twin").all()
    assert (done.metrics()["firing_rate"], done.metrics()["selected_epoch"]) == (None, 2)


def test_warm_up_trains_the_twin_and_the_rest_the_spiking_network(settings, digits, tmp_path):
    done, _ = run(settings(data={"epochs": 4, "warmup_epochs": 2}), digits, tmp_path / "run")
    twin, _ = run(settings(method="ann", data={"epochs": 4, "warmup_epochs": 2}), digits, tmp_path / "twin")
    rows, twins = history(done.path), history(twin.path)
    assert rows["phase"].tolist() == ["twin", "twin", "spiking", "spiking"]
    assert rows["firing_rate"].isna().tolist() == [True, True, False, False]
    assert rows["train_firing_rate/lif1"].isna().tolist() == [True, True, False, False]
    columns = ["train_loss", "loss", "accuracy", "train_accuracy", "gradient_norm/conv1"]
    assert rows[columns][:2].equals(twins[columns][:2])
    assert (rows[2:]["train_loss"] != twins[2:]["train_loss"]).all()


def test_the_validation_part_is_held_out_of_training_by_class(settings, digits):
    chosen = settings(training={"selection": "validation", "validation_fraction": 0.25})
    kept, held_out = training_parts(chosen, digits)
    assert (len(kept), len(held_out)) == (72, 24)
    rows = [row.tobytes() for row in np.concatenate([kept.x[:72], held_out.x[:24]])]
    assert sorted(rows) == sorted(row.tobytes() for row in digits.split("train").x)
    assert len(set(held_out.y.tolist())) == 10
    other = training_parts(settings(seed=2, training=chosen.training.model_dump()), digits)[1]
    assert not np.array_equal(other.x[:24], held_out.x[:24])
    assert training_parts(settings(), digits) == (digits.split("train"), None)


def test_a_validation_part_that_cannot_hold_every_class_is_refused(settings, digits, tmp_path):
    chosen = settings(training={"selection": "validation", "validation_fraction": 0.02})
    with pytest.raises(SettingsError, match="the training part cannot be divided"):
        run(chosen, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_train_samples_are_drawn_by_class_and_seed_and_held_out_samples_are_among_them(settings, digits):
    few, _ = training_parts(settings(data={"train_samples": 50}), digits)
    share = np.bincount(digits.split("train").y, minlength=10) * 50 / 96
    assert (len(few), np.abs(np.bincount(few.y, minlength=10) - share).max() < 1) == (50, True)
    again, _ = training_parts(settings(data={"train_samples": 50}), digits)
    other, _ = training_parts(settings(seed=2, data={"train_samples": 50}), digits)
    assert np.array_equal(few.x[:50], again.x[:50])
    assert not np.array_equal(few.x[:50], other.x[:50])
    chosen = settings(data={"train_samples": 50}, training={"selection": "validation", "validation_fraction": 0.2})
    kept, held_out = training_parts(chosen, digits)
    rows = {row.tobytes() for row in few.x[:50]}
    assert (len(kept), len(held_out)) == (40, 10)
    assert {row.tobytes() for row in np.concatenate([kept.x[:40], held_out.x[:10]])} == rows


@pytest.mark.parametrize(("wanted", "said"), [(97, "at most 96"), (95, "cannot be divided"), (9, "cannot be divided")])
def test_train_samples_that_the_training_part_cannot_give_are_refused(settings, digits, wanted, said):
    with pytest.raises(SettingsError, match=said):
        training_parts(settings(data={"train_samples": wanted}), digits)


def test_epochs_between_evaluations_have_no_test_figures_and_cannot_be_selected(settings, digits, tmp_path):
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


def test_an_empty_training_part_is_refused(settings, digits, tmp_path):
    test = digits.split("test")
    store = write_store(tmp_path / "store", np.array(test.x), test.y, train=0, classes=10)
    with pytest.raises(DataError, match="nothing to train on"):
        run(settings(), store, tmp_path / "run")


def test_every_sample_is_seen_once_an_epoch_in_an_order_of_its_own(settings, digits, tmp_path, monkeypatch):
    batches = []
    real = epoch.to_input
    monkeypatch.setattr(
        epoch, "to_input", lambda x, **o: batches.append([a.numpy().tobytes() for a in x]) or real(x, **o)
    )
    run(settings(data={"epochs": 2}), digits, tmp_path / "run")
    assert [len(batch) for batch in batches] == [40, 40, 16] * 2
    for drawn in (batches[:3], batches[3:]):
        assert sorted(image for batch in drawn for image in batch) == sorted(
            row.tobytes() for row in digits.split("train").x
        )
    assert set(batches[0]) != set(batches[3])


def test_the_learning_rate_of_every_step_is_the_schedules(settings, digits, tmp_path, monkeypatch):
    rates = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW, "step", lambda self, *a: rates.append(self.param_groups[0]["lr"]) or real(self, *a)
    )
    done, _ = run(settings(data={"epochs": 2}, training={"lr_warmup_epochs": 1}), digits, tmp_path / "run")
    rise, fall = [0.0025, 0.005, 0.0075], [0.01, 0.0075, 0.0025]
    assert rates == pytest.approx(rise + fall)
    assert history(done.path)["lr"].tolist() == pytest.approx([0.0075, 0.0025])


def test_weight_decay_and_clipping_are_applied(settings, digits, tmp_path, monkeypatch):
    norms = []
    real = torch.optim.AdamW.step

    def step(self, *a):
        norms.append(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]]).item())
        assert self.param_groups[0]["weight_decay"] == 0.05
        return real(self, *a)

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    run(settings(training={"clip_norm": 1e-4, "weight_decay": 0.05}), digits, tmp_path / "run")
    assert norms == pytest.approx([1e-4] * 9, rel=0.02)


def test_steps_are_counted_and_epochs_carry_their_record(settings, digits, tmp_path):
    done, events = run(settings(), digits, tmp_path / "run")
    steps = [(event.epoch, event.step, event.steps) for event in events if isinstance(event, StepDone)]
    assert steps == [(epoch, step, 3) for epoch in range(3) for step in (1, 2, 3)]
    records = [event.record for event in events if isinstance(event, EpochDone)]
    assert [record["epoch"] for record in records] == history(done.path)["epoch"].tolist() == [0, 1, 2]
    weights = [40, 40, 16]
    losses = [event.loss for event in events if isinstance(event, StepDone)][:3]
    assert records[0]["train_loss"] == pytest.approx(np.average(losses, weights=weights))


def test_a_silent_layer_is_warned_of_by_name(settings, digits, tmp_path):
    chosen = settings(neuron={"threshold": 50}, data={"epochs": 1, "warmup_epochs": 0}, training={"norm": "folded"})
    _, events = run(chosen, digits, tmp_path / "run")
    assert [warning.split()[0] for warning in events[-1].warnings] == ["lif1", "lif2", "lif3"]


def test_a_rate_far_too_high_ends_the_run_without_a_result(settings, digits, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(TrainingError, match="training diverged"):
        run(settings(training={"lr": 1e30, "lr_warmup_epochs": 0}), digits, out)
    assert not RunDir(out).finished
    assert RunDir(out).state() is None


@pytest.mark.parametrize("step", [0, 1, 2])  # before the first step, in the middle, and after the last has been counted
def test_a_run_that_diverges_keeps_its_last_good_epoch(settings, digits, tmp_path, step):
    out, before = tmp_path / "run", None
    events = train(settings(data={"epochs": 4}), digits, out, device=CPU)

    def poisoned():
        nonlocal before
        for event in events:
            if isinstance(event, EpochDone) and event.record["epoch"] == 1:
                before = {name: (out / name).read_bytes() for name in (*SAME[:3], "state.pt")}
                poison = before if step == 0 else None
            else:
                poison = isinstance(event, StepDone) and (event.epoch, event.step) == (2, 3 if step == 2 else 1)
            if poison:
                network = events.gi_yieldfrom.gi_frame.f_locals["network"]
                with torch.no_grad():
                    network.layers.conv2.weight[0, 0, 0, 0] = float("nan")

    with pytest.raises(TrainingError, match="last good epoch is kept"):
        poisoned()
    assert {name: (out / name).read_bytes() for name in before} == before
    assert not RunDir(out).finished
    assert RunDir(out).state()["epoch"] == 2


def test_a_run_starts_from_the_weights_of_another(settings, digits, tmp_path):
    origin, _ = run(settings(method="ann", data={"warmup_epochs": 0}), digits, tmp_path / "origin")
    chosen = settings(init_from=str(origin.path), data={"warmup_epochs": 0}, training={"lr": 1e-12})
    _, start, *_ = train(chosen, digits, tmp_path / "run", device=CPU)
    _, scratch, *_ = train(settings(data={"warmup_epochs": 0}), digits, tmp_path / "scratch", device=CPU)
    done, _ = run(chosen, digits, tmp_path / "run", resume=True)
    assert start.loss != scratch.loss
    for name in ("layers.conv1.weight", "layers.linear1.bias"):
        torch.testing.assert_close(done.weights()[name], origin.weights()[name])


def test_weights_of_another_structure_are_no_start_and_leave_no_directory(settings, digits, tmp_path):
    origin, _ = run(settings(), digits, tmp_path / "origin")
    chosen = settings(init_from=str(origin.path), data={"network": "5C3-AP4-2Voting"})
    with pytest.raises(RunError, match="weights of another structure"):
        run(chosen, digits, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_names_are_checked_before_any_data_are_looked_at(settings, tmp_path):
    check(settings())
    check(settings(method="ann"))
    with pytest.raises(DataError, match="digit"):
        check(settings(dataset="digit"))
    with pytest.raises(SettingsError, match=r"one of .*ann, or a file with a rule.*'backprop'"):
        check(settings(method="backprop"))
    with pytest.raises(SettingsError):
        check(settings(method=str(tmp_path / "none.py")))
    with pytest.raises(RunError, match="not a run"):
        check(settings(init_from=str(tmp_path)))


def test_a_device_that_is_not_there_is_refused():
    assert resolve_device("cpu") == CPU
    assert resolve_device("auto").type in ("cpu", "cuda")
    for name in ("tpu9", "cuda:77"):
        with pytest.raises(SettingsError, match="unusable device"):
            resolve_device(name)


def test_a_run_names_the_kernel_of_its_neurons_and_the_twin_has_none(settings, digits, tmp_path):
    for method, kernels in (("bpsta", {"cpu", "reference"}), ("ann", {None})):
        chosen = settings(method=method, data={"warmup_epochs": 0})
        begun = next(train(chosen, digits, tmp_path / method, device=CPU))
        said = RunDir(tmp_path / method).info().provenance["kernel"]
        assert (begun.kernel.name if begun.kernel else None) == said
        assert said in kernels
        assert begun.samples == len(digits.split("train"))
