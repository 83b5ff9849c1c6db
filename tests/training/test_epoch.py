import threading

import numpy as np
import pandas as pd
import pytest
import torch
from training_runs import state, until

from bpsta_cli import training
from bpsta_cli.data import batches
from bpsta_cli.data.batches import Batch
from bpsta_cli.errors import DataError, TrainingError
from bpsta_cli.network.layers import Voting
from bpsta_cli.training import epoch
from bpsta_cli.training.epoch import StepDone, _backward, make_learner
from bpsta_cli.training.monitor import monitoring
from bpsta_cli.training.run_directory import RunDir
from bpsta_cli.training.run_network import network_of

CPU = torch.device("cpu")
SAME = ("model.safetensors", "history.csv", "metrics.json")


def run(settings, store, out):
    for _ in training.train(settings, store, out, device=CPU):
        pass
    return RunDir(out)


def contents(done):
    return {name: (done.path / name).read_bytes() for name in SAME}


def gradient(settings, store, parts):
    """The gradient of the first 30 samples, computed in `parts`."""
    torch.manual_seed(0)
    learner = make_learner(network_of(settings, store.shape, 10), settings, CPU, store.shape)
    split = store.split("train")
    batch = Batch(torch.from_numpy(np.array(split.x[:30])), torch.from_numpy(split.y[:30]), torch.arange(30))
    losses = [_backward(learner, part, store.scale, len(part.y) / 30)[0] for part in batch.parts(parts)]
    return sum(losses).item(), [weight.grad for weight in learner.network.parameters()]


@pytest.mark.parametrize("loss", ["mse", "cross-entropy", "tet"])
@pytest.mark.parametrize("parts", [2, 4, 30])  # 30 = 8 + 8 + 7 + 7: parts of different size count by their samples
def test_without_a_norm_the_gradient_of_parts_is_that_of_the_whole_batch(settings, digits, loss, parts):
    chosen = settings(data={"network": "20FC-2Voting"}, training={"loss": loss})
    whole, parted = (gradient(chosen, digits, count) for count in (1, parts))
    assert parted[0] == pytest.approx(whole[0], rel=1e-6)
    torch.testing.assert_close(parted[1], whole[1], rtol=1e-5, atol=1e-7)
    assert max(grad.abs().max() for grad in whole[1]) > 1e-4


def test_a_batch_in_parts_is_one_step_of_the_optimiser(settings, digits, tmp_path):
    chosen = settings(data={"network": "20FC-2Voting"}, training={"accumulate": 3})
    until(training.train(chosen, digits, tmp_path / "run", device=CPU), training.EpochDone, 3)
    tensors, _ = state(tmp_path / "run")
    assert {int(each) for name, each in tensors.items() if name.endswith("/step")} == {9}
    whole = run(settings(data={"network": "20FC-2Voting"}), digits, tmp_path / "whole")
    first, second = (pd.read_csv(tmp_path / name / "history.csv") for name in ("run", "whole"))
    assert first["train_loss"][0] == pytest.approx(second["train_loss"][0], rel=1e-4)
    assert whole.finished


def test_batch_norm_follows_each_part(settings, digits):
    chosen = settings(training={"accumulate": 2})
    learner = make_learner(network_of(chosen, digits.shape, 10), chosen, CPU, digits.shape)
    split, halves = digits.split("train"), []
    for start in (0, 20):
        x = torch.from_numpy(np.array(split.x[start : start + 20])) * digits.scale
        halves.append(learner.network.layers.conv1(x[None]).mean((0, 1, 3, 4)))
    rows = np.arange(40)
    batch = Batch(torch.from_numpy(split.x[rows]), torch.from_numpy(split.y[rows]), torch.from_numpy(rows))
    with monitoring(learner.network) as monitor:
        epoch._step(learner, monitor, batch, digits.scale)
        assert [samples for _, samples in monitor.read()] == [40]
    expected = 0.9 * 0.1 * halves[0] + 0.1 * halves[1]
    torch.testing.assert_close(learner.network.layers.norm1.running_mean, expected)


@pytest.mark.parametrize("data", [{}, {"network": "4C3-AP4-8FC-DP-2Voting", "augmentation": "standard"}])
def test_a_run_with_recomputed_activations_is_the_same_byte_for_byte(settings, digits, tmp_path, data):
    plain = run(settings(data=data), digits, tmp_path / "plain")
    again = run(settings(data=data, training={"recompute": True}), digits, tmp_path / "again")
    assert contents(again)["model.safetensors"] == contents(plain)["model.safetensors"]
    assert contents(again)["history.csv"] == contents(plain)["history.csv"]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_run_in_half_precision_learns_and_keeps_weights_and_votes_in_float32(
    settings, digits, tmp_path, monkeypatch, precision
):
    seen, real = set(), Voting.forward

    def forward(layer, x):
        votes = real(layer, x)
        seen.add((x.dtype, votes.dtype))
        return votes

    monkeypatch.setattr(Voting, "forward", forward)
    data = {"network": "8C3-AP4-5Voting", "epochs": 8, "batch_size": 16}
    done = run(settings(data=data, training={"precision": precision}), digits, tmp_path / "run")
    losses = pd.read_csv(done.path / "history.csv")["train_loss"]
    assert losses.iloc[-1] < 0.95 * losses.iloc[0]
    assert {tensor.dtype for tensor in done.weights().values()} <= {torch.float32, torch.int64}
    half = getattr(torch, precision)
    assert seen == {(half, torch.float32), (torch.float32, torch.float32)}  # in training, and in evaluation


def test_the_scale_of_float16_goes_on_where_it_was(settings, digits, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", with_interval(torch.amp.GradScaler.__init__))
    chosen = settings(training={"precision": "float16"})
    whole = run(chosen, digits, tmp_path / "whole")
    events = training.train(chosen, digits, tmp_path / "broken", device=CPU)
    until(events, StepDone, 4)
    until(training.train(chosen, digits, tmp_path / "broken", device=CPU), training.EpochDone, 2)
    until(training.train(chosen, digits, tmp_path / "unbroken", device=CPU), training.EpochDone, 3)
    scales = [state(tmp_path / name)[1]["scaler"] for name in ("broken", "unbroken")]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] != 2.0**16
    assert contents(whole) == contents(run(chosen, digits, tmp_path / "broken"))


def with_interval(real):
    """GradScaler.__init__ that doubles its scale every other step."""
    return lambda scaler, *args, **options: real(scaler, *args, growth_interval=2, **options)


def test_gradients_that_overflow_at_every_scale_end_the_run(settings, digits, tmp_path, monkeypatch):
    real = torch.amp.GradScaler.__init__
    monkeypatch.setattr(torch.amp.GradScaler, "__init__", lambda scaler, *a, **o: real(scaler, *a, init_scale=0.5, **o))
    with pytest.raises(TrainingError, match="overflow at every scale"):
        run(settings(training={"precision": "float16"}), digits, tmp_path / "run")


def test_a_loss_that_is_read_now_and_then_is_the_same_in_the_record(settings, digits, tmp_path, monkeypatch):
    often = run(settings(), digits, tmp_path / "often")
    monkeypatch.setitem(epoch.READ_EVERY, "cpu", 2)
    seldom = run(settings(), digits, tmp_path / "seldom")
    assert contents(often) == contents(seldom)


def test_what_is_not_finite_between_two_looks_ends_the_run_all_the_same(settings, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(epoch.READ_EVERY, "cpu", 100)
    with pytest.raises(TrainingError, match="training diverged"):
        run(settings(training={"lr": 1e30, "lr_warmup_epochs": 0}), digits, tmp_path / "run")
    assert RunDir(tmp_path / "run").checkpoints.files() == []


@pytest.fixture(params=["inline", "thread"])
def way(request, monkeypatch):
    """Batches made as for a CPU, and as for a GPU."""
    if request.param == "thread":
        monkeypatch.setattr(batches, "INLINE", set())
    return request.param


@pytest.mark.usefixtures("way")
def test_a_read_that_fails_ends_the_run_with_its_own_error(settings, digits, tmp_path, monkeypatch):
    def torn(*_a, **_o):
        def changed(_x, _rows):
            raise DataError("a torn page", expected="8 bytes", got="7", todo="Prepare it again.")

        return changed

    monkeypatch.setattr(epoch.augmentation, "for_epoch", torn)
    with pytest.raises(DataError, match="a torn page"):
        run(settings(), digits, tmp_path / "run")


@pytest.mark.usefixtures("way")
def test_a_run_that_is_left_leaves_no_thread_behind(settings, digits, tmp_path):
    events = training.train(settings(), digits, tmp_path / "run", device=CPU)
    while not isinstance(next(events), StepDone):
        pass
    events.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bpsta-data")]


def test_batches_made_in_a_thread_give_the_same_run_byte_for_byte_resumed_too(settings, digits, tmp_path, monkeypatch):
    chosen = settings(data={"network": "4C3-AP4-8FC-DP-2Voting", "augmentation": "standard"})
    inline = run(chosen, digits, tmp_path / "inline")
    monkeypatch.setattr(batches, "INLINE", set())
    events = training.train(chosen, digits, tmp_path / "thread", device=CPU)
    for event in events:
        if isinstance(event, StepDone) and (event.epoch, event.step) == (1, 2):
            assert threading.active_count() > 1
            events.close()
    for _ in training.train(chosen, digits, tmp_path / "thread", device=CPU, resume=True):
        pass
    assert contents(RunDir(tmp_path / "thread")) == contents(inline)
