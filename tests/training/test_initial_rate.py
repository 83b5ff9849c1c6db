"""Gains are set once, before the first epoch with spikes, so that each layer fires at the wanted rate."""

import pytest
import torch
from training_runs import CPU, assert_same_run, history, run, until

from bpsta_cli.data.encoding import to_input
from bpsta_cli.evaluation.accuracy import counting_spikes
from bpsta_cli.network import build
from bpsta_cli.network.initial_weights import draw_weights
from bpsta_cli.training import EpochDone, initial_rate, train
from bpsta_cli.training.epoch import StepDone, batches_of, make_learner
from bpsta_cli.training.run_network import network_of

STRUCTURE = "8C3-MP2-8C3-AP4-12FC-2Voting"


def learner_of(settings, store, **training):
    chosen = settings(data={"network": STRUCTURE}, training=training)
    learner = make_learner(network_of(chosen, store.shape, 10), chosen, CPU, store.shape)
    draw_weights(learner.network, 1)
    return learner


def rates(learner, store):
    """Each layer's rate on the first batch of epoch 1, in training."""
    part, network = store.split("train"), learner.network.train()
    batch = next(batches_of(learner, store, part, 1, first=0))
    with counting_spikes(network) as counts, torch.no_grad():
        network.votes(to_input(batch.x, T=learner.settings.T, scale=store.scale, device=CPU))
    return {name: spikes / steps for name, (spikes, steps) in counts.items()}


@pytest.mark.parametrize("wanted", [0.15, 0.25])
def test_every_layer_fires_at_the_wanted_rate_on_the_first_batch(settings, digits, wanted):
    learner = learner_of(settings, digits, initial_rate=wanted)
    far = [abs(rate - wanted) > initial_rate.CLOSE for rate in rates(learner, digits).values()]
    initial_rate.set_gains(learner, digits, digits.split("train"), 1)
    found = rates(learner, digits)
    # 12 and 20 neurons behind 120 values: their rates move in steps
    assert all(found[name] == pytest.approx(wanted, abs=0.01 + 0.02 * name.endswith(("3", "4"))) for name in found)
    assert any(far)


def test_only_gains_change_each_layers_by_one_factor(settings, digits):
    learner = learner_of(settings, digits, initial_rate=0.2)
    before = {name: tensor.clone() for name, tensor in learner.network.layers.state_dict().items()}
    initial_rate.set_gains(learner, digits, digits.split("train"), 1)
    after = learner.network.layers.state_dict()
    changed = {name for name in before if not after[name].equal(before[name])}
    assert changed <= {
        f"{layer}.{part}" for layer in ("norm1", "norm2", "linear1", "linear2") for part in ("weight", "bias")
    }
    for name in ("norm1.weight", "norm2.weight", "linear1.weight", "linear2.weight", "linear1.bias"):
        factors = after[name] / before[name]
        torch.testing.assert_close(factors, factors.flatten()[0].expand_as(factors))


def test_without_the_setting_nothing_changes(settings, digits):
    learner = learner_of(settings, digits)
    before = {name: tensor.clone() for name, tensor in learner.network.state_dict().items()}
    initial_rate.set_gains(learner, digits, digits.split("train"), 1)
    assert all(tensor.equal(before[name]) for name, tensor in learner.network.state_dict().items())


def test_a_rate_that_cannot_be_reached_leaves_a_finite_gain(settings, digits):
    learner = learner_of(settings, digits, initial_rate=0.99)
    initial_rate.set_gains(learner, digits, digits.split("train"), 1)
    assert all(tensor.isfinite().all() for tensor in learner.network.parameters())


def test_neurons_behind_two_branches_have_both_gains():
    network = build("resnet18", (1, 8, 8), 3)
    found = initial_rate.gains_of(network)
    assert list(found) == list(network.neurons())
    assert {len(gains) for gains in found.values()} == {2, 4}


@pytest.mark.parametrize(("kind", "count"), [(EpochDone, 1), (StepDone, 3), (StepDone, 5), (EpochDone, 2)])
def test_a_run_that_goes_on_around_the_first_spiking_epoch_is_the_same_byte_for_byte(
    settings, digits, tmp_path, kind, count
):
    chosen = settings(data={"network": "4C3-AP4-8FC-DP-2Voting"}, training={"initial_rate": 0.2})
    whole, _ = run(chosen, digits, tmp_path / "whole")
    until(train(chosen, digits, tmp_path / "broken", device=CPU), kind, count)
    run(chosen, digits, tmp_path / "broken", resume=True)
    assert_same_run(whole.path, tmp_path / "broken")


def test_gains_are_set_before_the_first_epoch_with_spikes_alone(settings, digits, tmp_path):
    rows = {}
    for rate in (None, 0.2):
        done, _ = run(settings(training={"initial_rate": rate}), digits, tmp_path / str(rate))
        rows[rate] = history(done.path)["train_loss"]
    assert rows[0.2][0] == rows[None][0]
    assert rows[0.2][1] != rows[None][1]
