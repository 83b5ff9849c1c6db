"""Structures in the paper's notation, built: shapes, parameters, and tokens that do not fit."""

import pytest
import torch

from bpsta_cli.errors import StructureError
from bpsta_cli.network import build


def shapes(network, input_shape, T=1):
    """Output shape of every layer, without time and batch, for a batch of one."""
    found = {}
    handles = [
        layer.register_forward_hook(lambda _m, _i, out, name=name: found.update({name: tuple(out.shape[2:])}))
        for name, layer in network.layers.named_children()
    ]
    with torch.no_grad():
        network.eval()(torch.rand(T, 1, *input_shape))
    for handle in handles:
        handle.remove()
    return found


def kinds(network):
    return [name.rstrip("0123456789") for name in network.layers._modules]


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_small_on_mnist_has_the_shapes_and_parameters_of_a_count_by_hand():
    network = build("small", (1, 28, 28), 10)
    found = shapes(network, (1, 28, 28))
    assert [found[name] for name in ("conv1", "pool1", "conv2", "conv3", "pool2", "flatten1")] == [
        (128, 28, 28),
        (128, 14, 14),
        (128, 14, 14),
        (256, 14, 14),
        (256, 7, 7),
        (12544,),
    ]
    assert (found["linear1"], found["linear2"], found["voting1"]) == ((2048,), (100,), (10,))
    convolutions = (1 * 9 + 1) * 128 + (128 * 9 + 1) * 128 + (128 * 9 + 1) * 256
    norms = 2 * (128 + 128 + 256)
    linear = (12544 + 1) * 2048 + (2048 + 1) * 100
    assert parameters(network) == convolutions + norms + linear == 26_342_116


def weights(network):
    """Of convolutions and linear layers, biases left out."""
    return sum(layer.weight.numel() for layer in network.synapses().values())


def test_middle_on_cifar10_ends_in_512_values():
    network = build("middle", (3, 32, 32), 10)
    found = shapes(network, (3, 32, 32))
    assert [found[f"conv{n}"] for n in range(1, 5)] == [
        (128, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
    ]
    assert [found[name] for name in ("pool4", "flatten1", "linear1", "voting1")] == [
        (512, 1, 1),
        (512,),
        (100,),
        (10,),
    ]


@pytest.mark.parametrize(
    ("name", "shape", "classes", "count"),
    [
        # the sums of inputs x outputs x 9 over the convolutions, and inputs x outputs of linear layers
        ("small", (1, 28, 28), 10, 26_338_432),
        ("middle", (3, 32, 32), 10, 1_676_672),
        ("middle", (3, 32, 32), 100, 2_137_472),
        ("middle", (2, 34, 34), 10, 1_675_520),
        ("large", (2, 64, 64), 11, 6_603_008),
        ("large", (2, 64, 64), 10, 6_592_768),
    ],
)
def test_the_papers_structures_have_as_many_weights_as_its_text_gives_by_hand(name, shape, classes, count):
    assert weights(build(name, shape, classes)) == count


def test_large_on_dvs_gesture_ends_in_1024_values():
    network = build("large", (2, 64, 64), 11)
    found = shapes(network, (2, 64, 64))
    assert [found[f"pool{n}"] for n in range(1, 6)] == [
        (128, 32, 32),
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (1024, 1, 1),
    ]
    assert (found["flatten1"], found["linear1"], found["voting1"]) == ((1024,), (110,), (11,))
    assert kinds(network)[-6:] == ["pool", "dropout", "flatten", "linear", "lif", "voting"]


def test_layers_stand_in_the_order_of_the_published_structure():
    hidden = ["linear", "relu", "lif", "dropout"]
    expected = ["conv", "norm", "relu", "lif", "pool", "flatten", *hidden, "linear", "lif", "voting"]
    assert kinds(build("4C3-MP2-8FC-DP-2Voting", (1, 4, 4), 3)) == expected


def test_an_fc_before_the_votes_that_counts_the_inputs_is_no_layer():
    names_inputs = build("8C3-AP4-8FC-10Voting", (1, 4, 4), 10)
    assert list(names_inputs.synapses()) == ["conv1", "linear1"]
    assert parameters(names_inputs) == parameters(build("8C3-AP4-10Voting", (1, 4, 4), 10))


@pytest.mark.parametrize(
    "structure", ["8C3-AP4-9FC-10Voting", "8C3-AP4-8FC-DP-10Voting", "8C3-AP4-8FC-8FC-DP-10Voting"]
)
def test_any_other_fc_is_a_hidden_layer(structure):
    network = build(structure, (1, 4, 4), 10)
    assert network.synapses()["linear1"].in_features == 8
    assert len(network.synapses()) == 2 + structure.count("FC")


def test_a_number_of_neurons_before_the_output_is_a_hidden_layer_even_if_it_counts_the_inputs():
    assert len(build("8C3-AP4-8-10", (1, 4, 4), 10).synapses()) == 3


def test_mlp_and_cnn_stbp_are_those_of_wu_et_al():
    mlp = build("mlp", (1, 28, 28), 10)
    assert [tuple(layer.weight.shape) for layer in mlp.synapses().values()] == [(800, 784), (10, 800)]
    events = build("mlp", (2, 34, 34), 10)
    assert events.synapses()["linear1"].in_features == 34 * 34 * 2
    found = shapes(build("cnn-stbp", (1, 28, 28), 10), (1, 28, 28))
    assert [found[name] for name in ("conv1", "pool1", "conv2", "pool2", "linear1", "linear2")] == [
        (15, 26, 26),
        (15, 13, 13),
        (40, 11, 11),
        (40, 5, 5),
        (300,),
        (10,),
    ]


@pytest.mark.parametrize(
    ("structure", "got"),
    [
        ("4C3-MP2-MP2-MP2-MP2-10Voting", "0 x 0"),
        ("4C11-10Voting", "0 x 0"),
        ("8FC-4C3-10Voting", "'4C3' (token 2, character 5) on 8 values"),
        ("8FC-MP2-10Voting", "'MP2' (token 2, character 5) on 8 values"),
        ("100-10Voting", "'100' (token 1, character 1)"),
        ("8x8x3-10Voting", "'8x8x3' (token 1, character 1)"),
        ("4C3-11", "'11' (token 2, character 5)"),
    ],
)
def test_a_token_that_does_not_fit_is_pointed_at(structure, got):
    with pytest.raises(StructureError) as caught:
        build(structure, (1, 8, 8), 10)
    assert caught.value.got == got


def test_the_token_that_used_the_image_up_is_named():
    with pytest.raises(StructureError, match=r"'MP2' \(token 5, character 17\)"):
        build("4C3-MP2-MP2-MP2-MP2-10Voting", (1, 8, 8), 10)
