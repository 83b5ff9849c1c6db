import copy

import pytest
import torch

from bpsta_cli import kernels
from bpsta_cli.errors import SettingsError, StructureError
from bpsta_cli.network import build

RULES = ("stbp", "bpsa", "bpsta")
TINY = "4C3-MP2-6C3-AP4-2Voting"


def test_an_unknown_method_or_norm_is_refused():
    with pytest.raises(SettingsError):
        build(TINY, (1, 8, 8), 10, "backprop")
    with pytest.raises(SettingsError, match="unknown normalisation"):
        build(TINY, (1, 8, 8), 10, norm="layer")


@pytest.mark.parametrize("method", RULES)
def test_mean_votes_are_shares_of_spikes(method):
    network = build("4C3-8FC-DP-5Voting", (1, 8, 8), 3, method)
    x = 4 * torch.rand(4, 7, 1, 8, 8)
    votes, means = network.votes(x), network(x)
    assert (votes.shape, means.shape) == ((4, 7, 3), (7, 3))
    torch.testing.assert_close(votes * 5, (votes * 5).round())
    assert 0 <= votes.min() < votes.max() <= 1
    assert 0 < means.mean() < 1


def test_all_rules_share_the_forward_pass_and_differ_in_the_gradient():
    networks = {method: build(TINY, (1, 8, 8), 10, method) for method in RULES}
    for network in networks.values():
        network.load_state_dict(networks["stbp"].state_dict())
    x = torch.rand(4, 5, 1, 8, 8)
    votes = {method: network.votes(x) for method, network in networks.items()}
    gradients = {}
    for method, network in networks.items():
        votes[method][..., 0].sum().backward()
        gradients[method] = network.synapses()["conv1"].weight.grad
    assert votes["stbp"].any()
    assert votes["stbp"].equal(votes["bpsa"])
    assert votes["stbp"].equal(votes["bpsta"])
    assert not torch.allclose(gradients["bpsa"], gradients["bpsta"])
    assert not torch.allclose(gradients["stbp"], gradients["bpsa"])


def test_equal_seeds_give_equal_weights_for_every_method():
    states = []
    for method in (*RULES, "ann"):
        torch.manual_seed(5)
        states.append(build(TINY, (1, 8, 8), 10, method).state_dict())
    for state in states[1:]:
        assert all(tensor.equal(state[name]) for name, tensor in states[0].items())


def test_the_constants_reach_every_neuron():
    neurons = build(TINY, (1, 8, 8), 10, "bpsta", threshold=0.7, decay=0.3, alpha=0.9).neurons()
    assert list(neurons) == ["lif1", "lif2", "lif3"]
    for neuron in neurons.values():
        assert (neuron.threshold, neuron.decay, neuron.rule.alpha) == (0.7, 0.3, 0.9)
    stbp = build(TINY, (1, 8, 8), 10, "stbp", surrogate="gaussian", surrogate_width=2.0, detach_reset=True)
    rule = stbp.neurons()["lif1"].rule
    assert (rule.surrogate, rule.surrogate_width, rule.detach_reset) == ("gaussian", 2.0, True)


def test_tdbn_takes_the_threshold_and_dropout_its_share():
    network = build("4C3-8FC-DP-2Voting", (1, 8, 8), 10, threshold=0.7, norm="tdbn", dropout=0.25)
    assert (network.layers.norm1.threshold, network.layers.dropout1.p) == (0.7, 0.25)


def test_the_twin_leaves_the_neurons_out_and_processes_a_constant_input_once():
    network = build(TINY, (1, 8, 8), 10).eval()
    x = torch.rand(5, 1, 8, 8).expand(6, 5, 1, 8, 8)
    spikes = network.votes(x)
    network.spiking = False
    twin = network.votes(x)
    assert (spikes.shape[0], twin.shape[0]) == (6, 1)
    assert network.neurons() == {}
    by_hand = copy.deepcopy(network.layers)
    y = x[:1]
    for name, layer in by_hand.named_children():
        if not name.startswith("lif"):
            y = layer(y)
    assert twin.equal(y)
    assert not torch.allclose(twin[0], spikes.mean(0))
    network.spiking = True
    assert network.votes(x).equal(spikes)


def test_ann_is_the_twin_and_keeps_the_time_steps_of_an_input_that_changes():
    network = build(TINY, (1, 8, 8), 10, "ann")
    assert not network.spiking
    assert network.votes(torch.rand(6, 2, 1, 8, 8)).shape == (6, 2, 10)


def test_later_steps_depend_on_earlier_ones_and_never_the_other_way_round():
    network = build(TINY, (1, 8, 8), 10).eval()
    x = 2 * torch.rand(6, 8, 1, 8, 8)
    votes = network.votes(x)
    assert network.votes(x[:3]).equal(votes[:3])
    assert not network.votes(x[3:]).equal(votes[3:])
    assert not network(x[:3]).equal(network(x))


def test_how_convolutions_are_computed_is_asked_for_by_name_and_left_to_speed_otherwise(monkeypatch):
    network, asked, real = build(TINY, (1, 8, 8), 3), [], kernels.conv
    assert network.convolution == "auto"
    with pytest.raises(SettingsError, match="one of auto, dense, sparse"):
        network.convolution = "loose"

    def conv(layer, x, *, batch, convolution, zero_gradient_without_spike):
        asked.append((len(x), batch, convolution, zero_gradient_without_spike))
        return real(layer, x, batch=batch)

    monkeypatch.setattr(kernels, "conv", conv)
    x = torch.rand(2, 3, 1, 8, 8)
    for way in ("auto", "dense", "sparse"):
        network.convolution = way
        assert network.convolution == way
        network.votes(x)
        assert asked == [(6, 3, way, False), (6, 3, way, True)]
        asked.clear()


def test_a_way_of_convolving_lasts_as_long_as_its_context_even_when_that_ends_in_an_error():
    network = build(TINY, (1, 8, 8), 3)
    with network.convolution_as("sparse"):
        assert network.convolution == "sparse"
        with pytest.raises(SettingsError, match="one of auto, dense, sparse"), network.convolution_as("loose"):
            pass
        assert network.convolution == "sparse"
        with pytest.raises(KeyError), network.convolution_as("auto"):
            raise KeyError
        assert network.convolution == "sparse"
    assert network.convolution == "auto"


@pytest.mark.parametrize("structure", ["8C3-6C3-MP2-5C5-AP2-2Voting", "resnet18"])
def test_sparse_convolutions_change_no_bit_of_the_votes(structure):
    torch.manual_seed(2)
    network, x = build(structure, (2, 8, 8), 3), torch.rand(3, 2, 2, 8, 8)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.momentum = 1.0  # one pass leaves statistics with which every layer fires
    with torch.no_grad():
        network.votes(x)
        network.convolution = "dense"
        expected = network.eval().votes(x)
        network.convolution = "sparse"
        assert torch.equal(network.votes(x), expected)
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize("shape", [(64, 1, 8, 8), (1, 8, 8), (64, 64)])
def test_an_input_without_time_is_refused_and_not_taken_for_another(shape):
    network = build("64FC-10Voting", input_shape=(1, 8, 8), classes=10)
    with pytest.raises(StructureError, match=r"expected \[T, B, C, H, W\], time first, got shape"):
        network(torch.rand(*shape))
