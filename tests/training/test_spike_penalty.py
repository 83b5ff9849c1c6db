"""The gradient with a penalty on spikes is that of loss + penalty x firing rate, however a batch is computed."""

import dataclasses

import numpy as np
import pytest
import torch
from training_runs import CPU, history, run

from bpsta_cli.data.batches import Batch
from bpsta_cli.data.encoding import to_input
from bpsta_cli.network import losses
from bpsta_cli.rules import SilentGradient
from bpsta_cli.training import epoch
from bpsta_cli.training.run_network import network_of

PENALTY = 0.7
SAMPLES = 30


@pytest.fixture
def learner(settings, digits):
    """Makes a learner; without penalty, and with blocks run layer by layer, for `by_hand`."""

    def make(structure, penalty, **training):
        torch.manual_seed(0)
        chosen = settings(data={"network": structure}, training={"spike_penalty": penalty, **training})
        return epoch.make_learner(network_of(chosen, digits.shape, 10), chosen, CPU, digits.shape)

    return make


def samples(store):
    split, rows = store.split("train"), torch.arange(SAMPLES)
    return Batch(torch.from_numpy(np.array(split.x[:SAMPLES])), torch.from_numpy(split.y[:SAMPLES]), rows)


def gradients(learner, store, parts=1):
    batch = samples(store)
    for part in batch.parts(parts):
        epoch._backward(learner, part, store.scale, len(part.y) / SAMPLES)
    return [weight.grad for weight in learner.network.parameters()]


def by_hand(learner, store):
    """Autograd's gradient of loss + penalty x rate, from the spikes that the layers give, before any pooling."""
    batch, network, spikes = samples(store), learner.network, []
    for neurons in network.neurons().values():
        neurons.register_forward_hook(lambda _layer, _inputs, output: spikes.append(output))
    votes = network.votes(to_input(batch.x, T=learner.settings.T, scale=store.scale, device=CPU))
    rate = sum(each.sum() for each in spikes) / sum(each.numel() for each in spikes)
    (losses.loss("mse", votes, batch.y) + PENALTY * rate).backward()
    return [weight.grad for weight in network.parameters()]


@pytest.mark.parametrize("structure", ["4C3-MP2-6C3-AP4-20FC-2Voting", "20FC-2Voting"])
@pytest.mark.parametrize("warmed_up", [False, True])
def test_the_gradient_is_that_of_the_loss_with_the_penalty(learner, digits, structure, warmed_up):
    made = [learner(structure, penalty) for penalty in (PENALTY, 0.0, 0.0)]
    for each in made:
        for neurons in each.network.neurons().values():
            neurons.silent = SilentGradient() if warmed_up else None
    found, plain = gradients(made[0], digits), gradients(made[1], digits)
    expected = by_hand(made[2], digits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-7)
    assert max((one - other).abs().max() for one, other in zip(found, plain, strict=True)) > 1e-3


@pytest.mark.parametrize("parts", [2, 4, 30])
def test_the_gradient_of_parts_is_that_of_the_whole_batch(learner, digits, parts):
    whole, parted = (gradients(learner("20FC-2Voting", PENALTY), digits, count) for count in (1, parts))
    torch.testing.assert_close(parted, whole, rtol=1e-5, atol=1e-7)


def test_recomputed_activations_give_the_same_bits(learner, digits):
    plain, again = (
        gradients(learner("4C3-MP2-6C3-AP4-2Voting", PENALTY, recompute=way), digits) for way in (False, True)
    )
    assert all(map(torch.equal, plain, again))


def test_the_penalty_has_the_loss_scale_of_the_loss(learner, digits):
    plain = learner("20FC-2Voting", PENALTY)
    scaled = dataclasses.replace(
        learner("20FC-2Voting", PENALTY), scaler=torch.amp.GradScaler("cpu", init_scale=8.0, enabled=True)
    )
    one, eight = gradients(plain, digits), gradients(scaled, digits)
    torch.testing.assert_close([8 * each for each in one], eight, rtol=1e-5, atol=1e-7)


def test_a_penalty_makes_neurons_fire_less_and_is_no_part_of_the_recorded_loss(settings, digits, tmp_path):
    rows = []
    for penalty in (0.0, 0.5):
        chosen = settings(method="stbp", data={"epochs": 4, "batch_size": 16}, training={"spike_penalty": penalty})
        rows.append(history(run(chosen, digits, tmp_path / str(penalty))[0].path))
    free, penalised = rows
    assert penalised["firing_rate"].iloc[-1] < 0.8 * free["firing_rate"].iloc[-1]
    assert penalised["train_loss"].max() < 0.2  # penalty x rate alone would be above a tenth
