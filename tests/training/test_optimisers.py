import pytest
import torch

from bpsta_cli.config import TrainingSettings
from bpsta_cli.network import build
from bpsta_cli.training import optimisers


@pytest.fixture
def network():
    return build("6C3-MP2-128FC-2Voting", (1, 8, 8), 3)


def scales(optimiser, network):
    """The factor of each parameter's learning rate, by name."""
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    return {
        names[id(parameter)].removeprefix("layers."): group["scale"]
        for group in optimiser.param_groups
        for parameter in group["params"]
    }


def test_linear_layers_learn_at_64_over_their_inputs_and_normalised_ones_at_the_full_rate(network):
    found = scales(optimisers.make(network, TrainingSettings()), network)
    assert found == {
        **dict.fromkeys(["conv1.weight", "conv1.bias", "norm1.weight", "norm1.bias"], 1.0),
        **dict.fromkeys(["linear1.weight", "linear1.bias"], 64 / 96),
        **dict.fromkeys(["linear2.weight", "linear2.bias"], 64 / 128),
    }


def test_a_narrow_layer_learns_no_faster_than_the_others():
    network = build("2Voting", (1, 4, 4), 3)
    assert set(scales(optimisers.make(network, TrainingSettings()), network).values()) == {1.0}


def test_without_scaling_all_learn_alike(network):
    found = scales(optimisers.make(network, TrainingSettings(lr_scaling="none")), network)
    assert set(found.values()) == {1.0}
    assert len(found) == len(list(network.parameters()))


def test_without_their_decay_norms_alone_keep_their_weights_where_nothing_pulls(network):
    optimiser = optimisers.make(network, TrainingSettings(weight_decay=0.5, norm_weight_decay=False))
    optimisers.set_rate(optimiser, 0.1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with torch.no_grad():
        network.layers.norm1.bias.fill_(0.25)
        before["layers.norm1.bias"] = network.layers.norm1.bias.clone()
    optimiser.step()
    kept = {name.removeprefix("layers.") for name, each in network.named_parameters() if each.equal(before[name])}
    assert kept == {"norm1.weight", "norm1.bias"}


def test_a_step_moves_each_weight_by_its_layers_rate(network):
    optimiser = optimisers.make(network, TrainingSettings(weight_decay=0.0))
    optimisers.set_rate(optimiser, 0.01)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    factor = scales(optimiser, network)
    for name, parameter in network.named_parameters():
        moved = (before[name] - parameter).abs()
        torch.testing.assert_close(
            moved, torch.full_like(moved, 0.01 * factor[name.removeprefix("layers.")]), rtol=1e-3, atol=0
        )
