"""A network with sparse convolutions, in both passes, learns what the dense one learns."""

import copy
from dataclasses import dataclass

import pandas as pd
import pytest
import torch

from bpsta_cli import kernels, rules, training
from bpsta_cli.evaluation.accuracy import sparse_shares
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import conv_weight_gradient, sparse_conv
from bpsta_cli.network import build
from bpsta_cli.training import activation_checkpointing
from bpsta_cli.training.run_directory import RunDir

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

PLAIN = "8C3-6C3-MP2-5C5-AP2-2Voting"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Leaky(rules.BPSTA):
    """Errs where no spike is: what is not the rules themselves may do anything."""

    def spike_gradient(self, u, o, threshold):
        return torch.full_like(u, 0.5)


RULES = {name: rules.make(name) for name in rules.names()[:3]} | {"own": Leaky()}


def made(structure, rule, *, shift=0.0, **options):
    torch.manual_seed(1)
    network = build(structure, (2, 9, 8), 3, **options)
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.constant_(layer.bias, shift)
    for neuron in network.neurons().values():
        neuron.rule = RULES[rule]
    return network


def frames(T, B):
    return torch.rand(T, B, 2, 9, 8, generator=torch.Generator().manual_seed(2))


def step(network, x, votes=None):
    """Votes, which convolutions were sparse, and the gradient of the input and of every weight."""
    x = x.clone().requires_grad_()
    with sparse_shares(network) as shares:
        seen = network.votes(x) if votes is None else votes(network, x)
        (seen * torch.arange(1.0, 4)).square().sum().backward()
    return seen.detach(), shares, {"input": x.grad} | {name: p.grad for name, p in network.named_parameters()}


def assert_the_same(network, x, *, sparse):
    dense, other = network, copy.deepcopy(network)
    dense.convolution, other.convolution = "dense", "sparse"
    (expected, _, wanted), (votes, shares, found) = step(dense, x), step(other, x)
    assert list(shares.values()) == sparse
    torch.testing.assert_close(votes, expected, rtol=0, atol=0)
    for name, value in wanted.items():
        assert torch.equal(found[name], value), name
    return wanted


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("norm", ["folded", "per-step"])
@pytest.mark.parametrize("T", [1, 3])
def test_votes_and_every_gradient_are_those_of_the_dense_network(rule, backend, norm, T):
    network = made(PLAIN, rule, backend=backend, norm=norm)
    found = assert_the_same(network, frames(T, 3), sparse=[0, 1, 1])
    assert min(value.norm() for name, value in found.items() if "conv" not in name) > 1e-4


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(("shift", "rate"), [(-9.0, 0.0), (-1.2, 0.05), (1.3, 0.79)])
def test_so_they_are_when_no_neuron_fires_when_few_do_and_when_most_do(rule, shift, rate):
    network, x = made(PLAIN, rule, shift=shift), frames(3, 4)
    activities = {}
    with network.observed(lambda name, _: lambda activity: activities.update({name: activity})):
        network.votes(x)
    lif1 = activities["lif1"]
    assert (lif1.spike_count / lif1.neuron_steps).item() == pytest.approx(rate, abs=0.02)
    assert_the_same(network, x, sparse=[0, 1, 1])


@pytest.mark.parametrize("rule", ["bpsta", "stbp"])
def test_spikes_that_go_to_a_shortcut_too_get_the_whole_error(rule):
    network = made("resnet18", rule, shift=0.3)
    found = assert_the_same(network, frames(2, 2), sparse=[0, *[1] * 19])
    assert found["layers.stage2.block1.shortcut.conv.weight"].norm() > 1e-6


@pytest.mark.parametrize("rule", RULES)
def test_an_input_of_zeros_and_ones_is_an_input_and_gets_its_gradient_everywhere(rule):
    x = (frames(3, 3) < 0.2).float()
    found = assert_the_same(made(PLAIN, rule), x, sparse=[1, 1, 1])["input"]
    assert found[x == 0].norm() > 0.5 * found[x == 1].norm()


def test_the_inputs_gradient_is_left_out_at_zeros_for_rules_that_do_not_ask_for_it_there(monkeypatch):
    asked, real = [], kernels.conv

    def conv(layer, x, *, zero_gradient_without_spike, **options):
        asked.append(zero_gradient_without_spike)
        return real(layer, x, **options)

    monkeypatch.setattr(kernels, "conv", conv)
    for rule, expected in (("bpsa", True), ("bpsta", True), ("stbp", False), ("own", False)):
        network = made(PLAIN, rule)
        network.votes(frames(2, 2))
        network.spiking = False
        network.votes(frames(2, 2))
        assert asked == [False, expected, expected, False, False, False]
        asked.clear()


def be_silent(network, silent, spike_cost=0.0):
    for neuron in network.neurons().values():
        neuron.silent, neuron.spike_cost = silent, spike_cost


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("structure", [PLAIN, "resnet18"])
def test_with_the_silent_gradient_votes_and_every_gradient_are_those_of_the_dense_network(rule, structure):
    network = made(structure, rule)
    be_silent(network, rules.SilentGradient(), 1e-3)
    convolutions = len(network.convolutions())
    assert_the_same(network, frames(3, 3), sparse=[0, *[1] * (convolutions - 1)])


@pytest.mark.parametrize("cost", [0.0, 1e-3])
def test_the_silent_gradient_asks_for_the_whole_error_at_silent_neurons_and_its_end_gives_sparsity_back(
    cost, monkeypatch
):
    parts = []
    for module, name in (
        (sparse_conv, "forward"),
        (conv_weight_gradient, "sparse_weight_gradient"),
        (sparse_conv, "input_gradient"),
    ):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, f=function, n=name: (parts.append(n), f(*a))[1])
    network, x = made(PLAIN, "bpsta"), frames(3, 3)
    network.convolution = "sparse"
    found = []
    for silent in (None, rules.SilentGradient(), None):
        parts.clear()
        network.zero_grad()
        be_silent(network, silent, cost)
        gradients = step(network, x)[2]
        found.append(({name: parts.count(name) for name in set(parts)}, gradients))
    everywhere = {"forward": 2, "sparse_weight_gradient": 2}
    assert [counts for counts, _ in found] == [
        everywhere | {"input_gradient": 2},
        everywhere,
        everywhere | {"input_gradient": 2},
    ]
    before, during, after = (gradients for _, gradients in found)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(before["layers.conv1.weight"], during["layers.conv1.weight"])


def test_a_network_in_which_no_neuron_fires_learns_with_the_silent_gradient_and_not_without():
    x = frames(3, 4)
    for silent, learns in ((None, False), (rules.SilentGradient(), True)):
        network = made(PLAIN, "bpsta")
        for layer in network.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                torch.nn.init.constant_(layer.weight, 1e-3)
            if isinstance(layer, torch.nn.BatchNorm2d | torch.nn.Linear):
                torch.nn.init.constant_(layer.bias, 0.05)  # a current that no neuron fires at, and that is not 0
        network.convolution = "auto"
        be_silent(network, silent)
        votes, _, gradients = step(network, x, lambda network, x: network.votes(x) - 1)
        assert (votes == -1).all()
        assert (gradients["layers.conv1.weight"].norm() > 0) == learns


@pytest.mark.parametrize("structure", [PLAIN, "resnet18"])
def test_recomputed_activations_change_no_bit_and_are_reported_once(structure):
    network = made(structure, "bpsta")
    network.convolution = "sparse"
    other = copy.deepcopy(network)
    reported = []
    for one in (network, other):
        next(reversed(one.convolutions().values())).observers.append(lambda images, _: reported.append(images))
    expected, got = step(network, frames(2, 2)), step(other, frames(2, 2), activation_checkpointing.votes)
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    assert reported == [4, 4]


def test_a_hook_sees_its_layer_and_changes_nothing():
    network, seen = made(PLAIN, "bpsta"), []
    network.layers.conv2.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    assert_the_same(network, frames(3, 2), sparse=[0, 1, 1])
    assert len(seen) == 2


def test_under_autocast_every_convolution_is_torchs():
    network = made(PLAIN, "bpsta")
    network.convolution = "sparse"
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert list(step(network, frames(2, 2))[1].values()) == [0, 0, 0]


@pytest.mark.parametrize("choices", [{}, {"recompute": True}, {"accumulate": 2}], ids=str)
def test_a_run_with_auto_learns_bit_for_bit_what_the_dense_one_learns(settings, digits, tmp_path, monkeypatch, choices):
    data = {"network": "32C3-MP2-32C3-AP4-2Voting", "epochs": 2, "warmup_epochs": 1}
    real, sparse = kernels.conv, set()

    def conv(layer, x, **options):
        as_if_few_were_ones = {"convolution": "sparse"} if options["convolution"] == "auto" else {}
        output = real(layer, x, **options | as_if_few_were_ones)
        sparse.add((options["convolution"], layer.in_channels > 1 and output.sparse))
        return output

    monkeypatch.setattr(kernels, "conv", conv)
    found = []
    for choice in ("auto", "dense"):
        chosen = settings(data=data, training={"convolution": choice, **choices})
        for _ in training.train(chosen, digits, tmp_path / choice, device=CPU):
            pass
        assert RunDir(tmp_path / choice).info().settings.training.convolution == choice
        found.append(pd.read_csv(tmp_path / choice / "history.csv").filter(regex="loss|accuracy"))
    assert ("auto", True) in sparse
    assert ("dense", True) not in sparse
    pd.testing.assert_frame_equal(*found, check_exact=True)
