import numpy as np
import pytest
import torch
from training_runs import CPU, assert_same_run, history, run

from bpsta_cli.errors import RunError
from bpsta_cli.kernels import dispatch
from bpsta_cli.training import EpochDone, train
from bpsta_cli.training.adamw import AdamW
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.run_directory import RunDir


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


def test_the_learning_rate_of_every_step_is_the_schedules(settings, digits, tmp_path, monkeypatch):
    rates = []
    real = AdamW.step
    monkeypatch.setattr(AdamW, "step", lambda self, *a: rates.append(self.param_groups[0]["lr"]) or real(self, *a))
    done, _ = run(settings(data={"epochs": 2}, training={"lr_warmup_epochs": 1}), digits, tmp_path / "run")
    rise, fall = [0.0025, 0.005, 0.0075], [0.01, 0.0075, 0.0025]
    assert rates == pytest.approx(rise + fall)
    assert history(done.path)["lr"].tolist() == pytest.approx([0.0075, 0.0025])


def test_weight_decay_and_clipping_are_applied(settings, digits, tmp_path, monkeypatch):
    norms = []
    real = AdamW.step

    def step(self, *a):
        norms.append(torch.nn.utils.get_total_norm([p.grad for g in self.param_groups for p in g["params"]]).item())
        assert self.param_groups[0]["weight_decay"] == 0.05
        return real(self, *a)

    monkeypatch.setattr(AdamW, "step", step)
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


def test_a_run_names_its_kernel_and_the_twin_the_one_that_would_run_its_neurons(settings, digits, tmp_path):
    for method in ("bpsta", "ann"):
        chosen = settings(method=method, data={"warmup_epochs": 0})
        begun = next(train(chosen, digits, tmp_path / method, device=CPU))
        assert RunDir(tmp_path / method).info().provenance["kernel"] == dispatch.choose(device=CPU).name
        assert (begun.kernel is None) == (method == "ann")
        assert begun.samples == len(digits.split("train"))
