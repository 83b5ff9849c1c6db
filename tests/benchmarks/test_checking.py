"""A variant that computes something else than the reference is refused."""

import pytest
import torch
from tiny_benchmark import CPU, TINY, Wrong

from benchmarks import checking, comparisons, measuring, peers
from benchmarks.subjects import Project, Variant, with_rule


def test_every_variant_of_this_package_computes_what_the_reference_does(ours):
    checker = checking.Checker(TINY, CPU)
    assert {name: checker.mismatch(variant) for name, variant in ours.items()} == dict.fromkeys(ours, "")


@pytest.mark.parametrize("wrong", ["decay", "gradient", "votes", "evaluation", "nan", "nan gradient"])
def test_a_variant_that_computes_something_else_is_refused(wrong):
    variant = Variant("wrong", "", lambda network: Wrong(network, wrong), {"method": "bpsta"})
    settings = TINY.changed(inputs=("varying",))
    assert "off by" in checking.Checker(settings, CPU).mismatch(variant)


def test_a_variant_that_is_wrong_in_full_width_alone_is_refused():
    class WrongWhenWide(Project):
        def forward(self, x):
            votes = super().forward(x)
            return votes * 1.1 if self.layers.conv1.out_channels > comparisons.CHANNELS else votes

    variant = Variant("wrong", "", lambda network: WrongWhenWide(with_rule(network, "bpsa")), {"method": "bpsa"})
    settings = TINY.changed(network="17C3-AP4-2Voting", inputs=("varying",))
    assert "17C3-AP4-10Voting" in checking.Checker(settings, CPU).mismatch(variant)


def test_a_rule_held_against_another_is_refused():
    variant = Variant("wrong", "", lambda network: Project(with_rule(network, "stbp")), {"method": "bpsa"})
    assert "off by" in checking.Checker(TINY, CPU).mismatch(variant)


def test_a_wrong_neuron_is_refused(no_peers):
    right = measuring._neurons()["bpsta"]
    assert checking.neuron_mismatch(*right, CPU) == ""
    assert "off by" in checking.neuron_mismatch(lambda x: right[0](x * 1.01), right[1], CPU)
    assert "off by" in checking.neuron_mismatch(right[0], {"name": "bpsa"}, CPU)


def test_each_convolution_is_compared_in_its_full_width_with_the_pooling_after_it():
    parts = comparisons.convolutions(TINY.changed(network="small", shape=(1, 28, 28)))
    assert [(part.network, part.shape) for part in parts] == [
        ("128C3-MP2-10Voting", (1, 28, 28)),
        ("128C3-10Voting", (128, 14, 14)),
        ("256C3-MP2-10Voting", (128, 14, 14)),
    ]
    thin = comparisons.thinned(TINY.changed(network="small", shape=(1, 28, 28)))
    assert thin.network == "16C3-MP2-16C3-16C3-MP2-16FC-DP-10Voting"
    cnn = TINY.changed(network="cnn-stbp", shape=(1, 28, 28))
    assert [part.shape for part in comparisons.convolutions(cnn)] == [(1, 28, 28), (15, 13, 13)]


def test_the_clearance_is_how_near_a_potential_comes_to_an_edge():
    network = comparisons.build(TINY.changed(network="3"), backend="reference").double()
    network.layers.linear1.weight.data.zero_()
    network.layers.linear1.bias.data[:] = torch.tensor([0.2, 0.27, 0.2])
    # potentials of 0.2 and 0.38, and of 0.27 and 0.513; edges at 0, 0.5 and 1
    x = torch.zeros(2, 1, *TINY.shape, dtype=torch.float64)
    assert comparisons.clearance(network, x) == pytest.approx(0.013, abs=1e-6)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("variant", peers.variants(), ids=lambda variant: variant.name)
def test_a_peer_computes_what_the_reference_does(variant):
    if why := peers.absence(variant.package):
        pytest.skip(why)
    assert checking.Checker(TINY, CPU).mismatch(variant) == ""


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_the_neurons_of_peers_alone_compute_what_the_reference_does():
    found = measuring._neurons()
    if not {"spikingjelly", "snntorch", "norse"} & set(found):
        pytest.skip("no peer is installed")
    assert {name: checking.neuron_mismatch(*neuron, CPU) for name, neuron in found.items()} == dict.fromkeys(found, "")
