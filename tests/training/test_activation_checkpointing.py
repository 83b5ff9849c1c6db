import copy

import pytest
import torch

from bpsta_cli.network import build
from bpsta_cli.training import activation_checkpointing as checkpointing
from bpsta_cli.training.monitor import monitoring

STRUCTURE = "4C3-MP2-6C3-AP2-DP-12FC-DP-2Voting"
X = torch.rand(3, 8, 2, 8, 8)
SAME = X[0].expand(3, *X.shape[1:])


def made(structure=STRUCTURE, **options):
    torch.manual_seed(0)
    return build(structure, (2, 8, 8), 10, **options).train()


def backward(votes, network, x):
    """A pass and its gradient; what it leaves behind."""
    torch.manual_seed(5)
    with monitoring(network) as monitor:
        seen = votes(network, x)
        (seen * torch.arange(10.0)).square().sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    return {"votes": seen.detach(), "rates": monitor.rates, "passes": dict(monitor.passes)} | gradients | buffers


def plainly(network, x):
    return network.votes(x)


@pytest.mark.parametrize("x", [X, SAME], ids=["frames", "image"])
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("norm", ["folded", "tdbn", "per-step", "none"])
def test_gradients_running_statistics_and_rates_are_those_without_it_bit_for_bit(x, backend, norm):
    one = made(norm=norm, backend=backend)
    other = copy.deepcopy(one)
    expected, got = backward(plainly, one, x), backward(checkpointing.votes, other, x)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert got["layers.conv1.weight"].abs().max() > 0
    assert got["passes"] == {"lif1": 1, "lif2": 1, "lif3": 1, "lif4": 1}


def test_seeded_dropout_has_the_same_masks_when_computed_again():
    one = made()
    other = copy.deepcopy(one)
    with one.dropout_by(1, 0), other.dropout_by(1, 0):
        for network in (one, other):
            network.dropout_samples(range(8))
        expected, got = backward(plainly, one, X), backward(checkpointing.votes, other, X)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)


@pytest.mark.parametrize("structure", [STRUCTURE, "resnet18"])
def test_the_twin_and_residual_networks_are_the_same_too(structure):
    one = made(structure, method="ann" if structure == STRUCTURE else "bpsta")
    other = copy.deepcopy(one)
    x = SAME[:2, :2]
    torch.testing.assert_close(backward(checkpointing.votes, other, x), backward(plainly, one, x), rtol=0, atol=0)


def saved(votes, network, x):
    """Bytes that the graph of a pass keeps, each piece of memory once, weights not counted."""
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    kept = {}

    def pack(tensor):
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = votes(network, x)
    del result
    return sum(kept.values())


def test_a_pass_keeps_less_than_half_of_the_memory():
    network = made("16C3-16C3-MP2-16C3-16C3-AP2-2Voting")
    x = torch.rand(8, 4, 2, 8, 8)
    assert saved(checkpointing.votes, network, x) < 0.5 * saved(plainly, network, x)


def test_a_unit_begins_with_weights_or_a_residual_block():
    names = [[type(layer).__name__ for layer in unit] for unit in checkpointing.units(made().layers)]
    assert names == [
        ["Conv", "FoldedNorm", "ReLU", "LIF", "MaxPool"],
        ["Conv", "FoldedNorm", "ReLU", "LIF", "AvgPool", "NeuronDropout", "Flatten"],
        ["Linear", "ReLU", "LIF", "NeuronDropout"],
        ["Linear", "LIF", "Voting"],
    ]
    residual = [[type(layer).__name__ for layer in unit] for unit in checkpointing.units(made("resnet18").layers)]
    assert residual[0] == ["Conv", "FoldedNorm", "ReLU", "LIF"]
    assert residual[1:8] == [["ResidualBlock"]] * 7
    assert residual[8:] == [["ResidualBlock", "AvgPool", "Flatten"], ["Linear", "LIF", "Voting"]]


def test_watchers_come_back_after_a_backward_pass_that_fails():
    network = made()
    observers = [lambda activity: None]
    for neuron in network.neurons().values():
        neuron.observers = observers
    loss = checkpointing.votes(network, X).sum()
    network.layers.conv2.weight.data = torch.zeros(6, 9, 3, 3)
    with pytest.raises(RuntimeError):
        loss.backward()
    assert all(neuron.observers is observers for neuron in network.neurons().values())
