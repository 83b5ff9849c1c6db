"""A plan holds what a network's inference does, with the norms folded in."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from bpsta_cli.errors import ExportError
from bpsta_cli.export.plan import INPUT, Convolve, Fire, plan
from bpsta_cli.network.layers import Conv
from bpsta_cli.network.norms import NoNorm


@pytest.mark.parametrize("norm", ["folded", "tdbn", "per-step", "none"])
def test_a_folded_convolution_gives_what_the_convolution_and_its_norm_give(lively, norm):
    network = lively("3C3-2Voting", norm=norm)
    x = torch.rand(1, 5, 1, 8, 8)
    step = plan(network, (1, 8, 8)).steps["conv1"]
    folded = F.conv2d(x[0], torch.from_numpy(step.operation.weight), torch.from_numpy(step.operation.bias), padding=1)
    with torch.no_grad():
        apart = network.layers.norm1(network.layers.conv1(x))[0]
    np.testing.assert_allclose(folded.numpy(), apart.numpy(), atol=2e-6)
    assert step.of == ("conv1", "norm1")


def test_a_norm_changes_what_is_folded(lively):
    network = lively("3C3-2Voting")
    before = plan(network, (1, 8, 8)).steps["conv1"].operation
    network.layers.norm1.running_var *= 4
    after = plan(network, (1, 8, 8)).steps["conv1"].operation
    np.testing.assert_allclose(after.weight, before.weight / 2, rtol=1e-3)


@pytest.mark.parametrize("structure", ["3C5-MP2-4C3-AP2-7FC-DP-2Voting", "162-9-4", "resnet18"])
def test_the_shapes_of_the_steps_are_those_of_the_layers(lively, few_filters, structure):
    network = lively(structure, (2, 9, 9))
    found = plan(network, (2, 9, 9))
    seen = {}
    for name, layer in network.layers.named_modules():
        if name in found.steps and not isinstance(layer, nn.Sequential):
            layer.register_forward_hook(lambda _, __, output, name=name: seen.update({name: tuple(output.shape[2:])}))
    with torch.no_grad():
        network.votes(torch.rand(2, 3, 2, 9, 9))
    assert len(seen) > 4
    assert {name: found.steps[name].shape for name in seen} == seen


def test_dropout_and_the_twins_neurons_are_no_steps(lively):
    steps = plan(lively("3C3-AP4-5FC-DP-2Voting", method="ann"), (1, 8, 8)).steps
    assert not any(isinstance(step.operation, Fire) for step in steps.values())
    assert "dropout1" not in steps


def test_what_comes_before_the_first_neurons_is_known_by_name(lively, few_filters):
    assert plan(lively("3C3-MP2-2Voting"), (1, 8, 8)).before_neurons() == {INPUT, "conv1", "relu1"}
    assert plan(lively("resnet18"), (1, 8, 8)).before_neurons() == {INPUT, "stem.conv", "stem.relu"}


def test_a_residual_blocks_branches_are_added(lively, few_filters):
    steps = plan(lively("resnet18"), (1, 8, 8)).steps
    assert steps["stage1.block1.add"].sources == ("stage1.block1.conv2", "stem.lif")
    assert steps["stage2.block1.add"].sources == ("stage2.block1.conv2", "stage2.block1.shortcut.conv")


@pytest.mark.parametrize(
    ("name", "layer"),
    [("relu1", nn.Sigmoid()), ("norm1", nn.BatchNorm2d(3)), ("conv1", Conv(1, 3, 3, padding=2, dilation=2))],
)
def test_a_layer_that_is_not_this_packages_is_refused_by_its_name(lively, name, layer):
    network = lively("3C3-2Voting")
    setattr(network.layers, name, layer)
    with pytest.raises(ExportError, match=f"got {name}, a {type(layer).__name__}"):
        plan(network, (1, 8, 8))


def test_a_norm_without_a_convolution_is_refused(lively):
    network = lively("3C3-2Voting")
    network.layers.relu1 = NoNorm(3)
    network.layers.conv1 = nn.Identity()
    with pytest.raises(ExportError, match="norm1"):
        plan(network, (1, 8, 8))


def test_exporting_leaves_the_weights_as_they_are(lively):
    network = lively("3C3-2Voting")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert isinstance(plan(network, (1, 8, 8)).steps["conv1"].operation, Convolve)
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name])
