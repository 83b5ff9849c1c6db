import pytest
import torch

from bpsta_cli.errors import StructureError
from bpsta_cli.network import build
from bpsta_cli.network.budget import MOST_PARAMETERS, Budget
from bpsta_cli.network.memory import evaluation_batch, neuron_counts, outputs, training_bytes


def test_the_potentials_of_a_sample_are_those_of_its_layers():
    network = build("4C3-MP2-6C3-AP4-2Voting", (1, 8, 8), 3)
    assert outputs(network, (1, 8, 8)) == [4 * 8 * 8, 6 * 4 * 4, 6]
    assert outputs(build("resnet18", (3, 8, 8), 10), (3, 8, 8))[0] == 64 * 8 * 8


@pytest.mark.parametrize("structure", ["4C3-MP2-6C3-AP4-20FC-2Voting", "resnet18"])
def test_neurons_are_counted_as_those_that_spike_in_a_step_of_a_sample(structure):
    network, counts = build(structure, (1, 8, 8), 3).eval(), {}
    with network.observed(lambda name, _: lambda activity: counts.setdefault(name, activity.neuron_steps)):
        network.votes(torch.rand(2, 3, 1, 8, 8))  # T = 2, three samples
    assert [6 * each for each in neuron_counts(network, (1, 8, 8))] == list(counts.values())


def test_counting_changes_nothing_and_nobody_sees_it():
    network = build("4C3-MP2-6C3-AP4-2Voting", (1, 8, 8), 3).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state, seen = torch.get_rng_state(), []
    handle = network.layers.conv1.register_forward_hook(lambda *_: seen.append("hook"))
    network.layers.conv2.observers.append(lambda *_: seen.append("observer"))
    outputs(network, (1, 8, 8))
    assert seen == []
    assert (network.training, network.spiking) == (True, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    network(torch.rand(2, 2, 1, 8, 8))
    assert set(seen) == {"hook", "observer"}
    handle.remove()


def test_training_keeps_what_every_layer_integrates_and_recomputation_the_largest_alone():
    assert training_bytes([10, 5], T=3, batch=2, recompute=False) == 3 * 2 * 15 * 4
    assert training_bytes([10, 5], T=3, batch=2, recompute=True) == 3 * 2 * 10 * 4


def test_a_batch_of_evaluation_shrinks_where_memory_is_short_and_never_below_one():
    network, shape = build("4C3-MP2-6C3-AP4-2Voting", (1, 8, 8), 3), (1, 8, 8)
    each = 2 * 5 * 256 * 4
    assert evaluation_batch(network, shape, T=5, most=256, memory=4 * 1000 * each) == 256
    assert evaluation_batch(network, shape, T=5, most=256, memory=4 * 7 * each) == 7
    assert evaluation_batch(network, shape, T=5, most=256, memory=1) == 1


def test_the_weights_of_all_layers_count_together():
    budget = Budget()
    budget.take(MOST_PARAMETERS, "the first")
    with pytest.raises(StructureError, match="with the second"):
        budget.take(1, "the second")
