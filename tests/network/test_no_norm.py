"""Norm "none": convolutions with a bias and nothing behind them but ReLU and neurons."""

import pytest
import torch
import torch.nn.functional as F

from bpsta_cli.config import TrainingSettings
from bpsta_cli.kernels import dispatch, reference
from bpsta_cli.network import build, fusion
from bpsta_cli.training import optimisers
from bpsta_cli.training.initial_rate import gains_of

STRUCTURE = "6C3-MP2-5C3-AP2-2Voting"


def made(structure=STRUCTURE, method="bpsta", **options):
    torch.manual_seed(1)
    return build(structure, (2, 8, 8), 3, method, norm="none", **options).double()


def frames(constant):
    torch.manual_seed(2)
    x = 2 * torch.randn(1 if constant else 3, 4, 2, 8, 8, dtype=torch.float64)
    return x.expand(3, *x.shape[1:])


def by_torch(weights, x, rule):
    """The votes of `STRUCTURE` from torch's own operations and the neuron's specification."""

    def fire(current):
        return reference.lif(F.relu(current).unflatten(0, x.shape[:2]), threshold=0.5, decay=0.9, rule=rule)

    def convolved(images, name):
        return F.conv2d(images, weights[f"layers.{name}.weight"], weights[f"layers.{name}.bias"], padding=1)

    spikes = F.max_pool2d(fire(convolved(x.flatten(0, 1), "conv1")).flatten(0, 1), 2)
    spikes = F.avg_pool2d(fire(convolved(spikes, "conv2")).flatten(0, 1), 2).flatten(1)
    current = F.linear(spikes, weights["layers.linear1.weight"], weights["layers.linear1.bias"])
    spikes = reference.lif(current.unflatten(0, x.shape[:2]), threshold=0.5, decay=0.9, rule=rule)
    return spikes.unflatten(-1, (3, 2)).mean(-1)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("method", ["stbp", "bpsa", "bpsta"])
def test_votes_and_every_gradient_are_those_of_torchs_convolutions_with_bias_relu_and_the_reference_neuron(
    constant, method, monkeypatch
):
    ran = []
    real = fusion.Fusible.run
    monkeypatch.setattr(fusion.Fusible, "run", lambda self, x: ran.append(self) or real(self, x))
    network, x = made(method=method), frames(constant)
    weights = dict(network.named_parameters())
    votes, expected = network.votes(x), by_torch(weights, x, network.layers.lif1.rule)
    assert len(ran) == (2 if dispatch.choose().name == "cpu" else 0)
    assert votes.equal(expected)
    assert 0.05 < votes.mean() < 0.95
    error = torch.randn(votes.shape, dtype=votes.dtype)
    found = torch.autograd.grad(votes, weights.values(), error)
    for name, one, other in zip(weights, found, torch.autograd.grad(expected, weights.values(), error), strict=True):
        assert other.abs().max() > 0
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_nothing_but_weights_and_biases_is_kept_and_training_gives_what_evaluation_gives(backend):
    network, x = made(backend=backend), frames(constant=False)
    layers = ("conv1", "conv2", "linear1")
    assert set(network.state_dict()) == {f"layers.{name}.{part}" for name in layers for part in ("weight", "bias")}
    assert list(network.buffers()) == []
    votes = network.train().votes(x)
    assert network.eval().votes(x).equal(votes)
    assert network.votes(x[:, :1]).equal(votes[:, :1])  # whatever the other samples are


def test_a_single_value_a_channel_is_enough():
    assert build("6C3-2Voting", (1, 1, 1), 3, norm="none").votes(torch.randn(1, 1, 1, 1, 1)).isfinite().all()


@pytest.mark.parametrize("norm", ["none", "folded"])
def test_a_residual_networks_convolutions_have_a_bias_where_there_is_no_norm_alone(norm):
    network = build("resnet18", (3, 8, 8), 3, norm=norm)
    assert {conv.bias is not None for conv in network.convolutions().values()} == {norm == "none"}


def test_convolutions_learn_at_64_over_their_inputs_as_linear_layers_do():
    network = made("16C3-20C3-2Voting")
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    optimiser = optimisers.make(network, TrainingSettings(norm="none"))
    scales = {names[id(each)]: group["scale"] for group in optimiser.param_groups for each in group["params"]}
    for name, scale in {"conv1": 1.0, "conv2": 64 / (16 * 9), "linear1": 64 / (20 * 64)}.items():  # conv1: 18 inputs
        assert scales[f"layers.{name}.weight"] == scales[f"layers.{name}.bias"] == scale


def test_what_the_initial_rate_scales_is_all_that_a_layers_current_is_made_of():
    network, x = made("resnet18"), frames(constant=False)
    gains = gains_of(network)
    assert list(gains) == list(network.neurons())
    currents = []
    network.layers.stem.lif.register_forward_pre_hook(lambda _layer, inputs: currents.append(inputs[0]))
    with torch.no_grad():
        network.votes(x)
        for gain in gains["stem.lif"]:
            gain.mul_(2)
        network.votes(x)
    assert currents[1].equal(2 * currents[0])
    assert len(gains["stage2.block1.lif2"]) == 4  # weight and bias of the second convolution and of the shortcut
