"""A quantised twin: what is folded, what is rounded, what is refused."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from bpsta_cli.errors import DataError, SettingsError, StructureError
from bpsta_cli.network import build
from bpsta_cli.network.norms import FoldedNorm, NoNorm
from bpsta_cli.quantisation import quantise
from bpsta_cli.quantisation.folding import fold_norms
from bpsta_cli.quantisation.rounding import QuantisedSynapses, Quantiser

STRUCTURES = {"plain": ("4C3-MP2-6C3-AP2-12FC-2Voting", (1, 8, 8)), "residual": ("resnet18", (1, 4, 4))}


def twin(structure="plain", *, norm="folded", method="ann"):
    """A twin whose norms have statistics that are not those of a beginning."""
    notation, shape = STRUCTURES[structure]
    network = build(notation, shape, 3, method, norm=norm)
    for layer in network.modules():
        if isinstance(layer, FoldedNorm) and not isinstance(layer, NoNorm):
            for values, low in ((layer.running_mean, -0.2), (layer.running_var, 0.5)):
                nn.init.uniform_(values, low, low + 0.5)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.uniform_(layer.bias, -0.1, 0.3)
    return network.eval()


def samples(structure="plain", *, count=12, steps=1):
    """Whole multiples of 1/16 from 0 to 1, [T, B, C, H, W]."""
    return torch.randint(0, 17, (steps, count, *STRUCTURES[structure][1])) / 16


def quantised(network, x, **options):
    return quantise(network, lambda: iter(x.split(7, 1)), **{"bits": 3, "input_unit": 1 / 16} | options)


def outputs_of(network, kind, x):
    """What each layer of a kind gives for `x`, by name."""
    found = {}
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, kind)}
    handles = [
        layer.register_forward_hook(lambda _, __, y, name=name: found.update({name: y}))
        for name, layer in layers.items()
    ]
    network.votes(x)
    for handle in handles:
        handle.remove()
    return found


@pytest.mark.parametrize("norm", ["folded", "per-step", "tdbn", "none"])
@pytest.mark.parametrize("structure", STRUCTURES)
@torch.no_grad()
def test_folded_norms_change_no_vote_but_for_rounding(structure, norm):
    network, x = twin(structure, norm=norm), samples(structure)
    before = network.votes(x)
    fold_norms(network.layers)
    kinds = {type(layer) for layer in network.modules() if isinstance(layer, FoldedNorm)}
    assert kinds == {NoNorm}
    assert torch.allclose(network.votes(x), before, rtol=1e-4, atol=1e-5)


def test_a_norm_behind_no_convolution_is_refused():
    layers = nn.Sequential()
    layers.add_module("linear1", nn.Linear(2, 2))
    layers.add_module("norm1", FoldedNorm(2))
    with pytest.raises(StructureError, match="norm1 after linear1"):
        fold_norms(layers)


@pytest.mark.parametrize(("structure", "bits"), [("plain", 1), ("plain", 2), ("plain", 4), ("residual", 2)])
@torch.no_grad()
def test_no_value_has_more_bits_than_it_should(structure, bits):
    network, x = twin(structure), samples(structure)
    rounded = quantised(network, x, bits=bits).network
    for name, y in outputs_of(rounded, Quantiser, samples(structure, count=20)).items():
        most = bits if "relu" in name else 8
        assert len(y.unique()) <= 2**most, name
        assert y.amin() >= 0
    relus = [name for name, layer in network.layers.named_modules() if isinstance(layer, nn.ReLU)]
    assert {f"layers.{name}.quantiser" for name in relus} < set(outputs_of(rounded, Quantiser, x))
    synapses = [layer for layer in rounded.modules() if isinstance(layer, QuantisedSynapses)]
    assert len(synapses) == len(network.synapses())
    for layer in synapses:
        assert max(len(row.unique()) for row in layer.weight().flatten(1)) <= 2**8 - 1


@pytest.mark.parametrize(("structure", "tried"), [("plain", (2, 4, 8, 12)), ("residual", (4, 8))])
@torch.no_grad()
def test_with_more_bits_the_votes_come_nearer_to_those_that_are_not_rounded(structure, tried):
    network, x = twin(structure), samples(structure)
    expected = network.votes(x)
    errors = [
        float((quantised(network, x, bits=bits, weight_bits=max(bits, 8)).network.votes(x) - expected).abs().mean())
        for bits in tried
    ]
    assert all(more > less for more, less in pairwise(errors))
    assert errors[tried.index(8)] < 0.02 * float(expected.std())


@torch.no_grad()
def test_pixels_of_eight_bits_stay_as_they_are_and_larger_counts_are_rounded_to_eight():
    network, x = twin(), samples()
    found = quantised(network, x)
    assert found.steps["input"] == 1 / 16
    assert torch.equal(found.network.layers.input(x), x)
    counts = torch.randint(0, 600, x.shape).float()
    counts[0, 0, 0, 0, 0] = 599
    found = quantised(network, counts, input_unit=1.0)
    assert found.steps["input"] == 3  # 255 steps of 3 reach 599
    assert len(found.network.layers.input(counts).unique()) <= 256


@torch.no_grad()
def test_the_twin_that_is_quantised_stays_as_it_is():
    network, x = twin(), samples()
    before = {name: values.clone() for name, values in network.state_dict().items()}
    quantised(network, x)
    assert list(network.state_dict()) == list(before)
    assert all(torch.equal(values, before[name]) for name, values in network.state_dict().items())


@torch.no_grad()
def test_frames_of_events_are_rounded_at_all_their_steps():
    network, x = twin(), samples(steps=3)
    rounded = quantised(network, x).network
    assert rounded.votes(x).shape == (3, x.shape[1], 3)
    assert torch.equal(rounded.votes(x)[1:2], rounded.votes(x[1:2]))


def test_the_steps_do_not_depend_on_the_batches_in_which_the_samples_come():
    network, x = twin(), samples()
    one = quantise(network, lambda: [x], bits=3, input_unit=1 / 16)
    assert one.steps == quantised(network, x).steps
    assert list(one.steps) == ["input", "relu1", "relu2", "pool2", "relu3"]


def test_a_spiking_network_is_refused():
    with pytest.raises(SettingsError, match="spikes have one bit: expected the ReLU twin"):
        quantised(twin(method="bpsta"), samples())


@pytest.mark.parametrize("options", [{"bits": 0}, {"bits": 17}, {"weight_bits": 1}, {"weight_bits": 99}])
def test_bits_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match="unusable bits"):
        quantised(twin(), samples(), **options)


def test_samples_that_are_none_or_negative_are_refused():
    with pytest.raises(DataError, match="nothing to calibrate on"):
        quantise(twin(), lambda: [], bits=3, input_unit=1.0)
    with pytest.raises(DataError, match="negative inputs"):
        quantised(twin(), samples() - 0.5)
