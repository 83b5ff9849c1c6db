"""Rounding against tables worked by hand, and against torch's own fake quantisation where it is still there."""

import numpy as np
import pytest
import torch

from bpsta_cli.network.layers import Conv, Linear
from bpsta_cli.quantisation.rounding import QuantisedSynapses, Quantiser, best_step


def rounding(bits, step):
    quantiser = Quantiser(bits)
    quantiser.step = step
    return quantiser


@pytest.mark.parametrize(
    ("bits", "step", "given", "expected"),
    [
        (2, 0.5, [0.0, 0.2, 0.3, 0.7, 0.8, 1.2, 1.5, 9.0], [0.0, 0.0, 0.5, 0.5, 1.0, 1.0, 1.5, 1.5]),
        (2, 0.5, [0.25, 0.75, 1.25], [0.0, 1.0, 1.0]),  # halves to even: of 0.5, 1.5 and 2.5 steps
        (1, 2.0, [0.0, 0.9, 1.1, 5.0], [0.0, 0.0, 2.0, 2.0]),
        (3, 1.0, [6.4, 6.6, 7.4, 8.0], [6.0, 7.0, 7.0, 7.0]),
        (2, 0.5, [-0.1, -3.0], [0.0, 0.0]),
    ],
)
def test_values_become_the_nearest_of_the_levels_that_the_bits_have(bits, step, given, expected):
    assert rounding(bits, step)(torch.tensor(given)).tolist() == expected


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8, 16])
def test_so_many_bits_have_two_to_their_power_levels_and_zero_is_one(bits):
    found = rounding(bits, 0.37)(torch.linspace(0, 0.37 * 2**bits, 2 ** (bits + 3))).unique()
    assert len(found) == 2**bits
    assert (found[0], found[-1]) == (0, pytest.approx(0.37 * (2**bits - 1)))


def test_what_is_not_calibrated_passes_as_it_is():
    x = torch.rand(5)
    assert Quantiser(2)(x) is x


def test_the_gradient_goes_straight_through_and_stops_beyond_the_highest_level():
    x = torch.tensor([0.1, 0.7, 1.5, 1.8, 9.0], requires_grad=True)
    rounding(2, 0.5)(x).backward(torch.full((5,), 3.0))
    assert x.grad.tolist() == [3.0, 3.0, 3.0, 0.0, 0.0]


def test_weights_have_the_levels_of_their_own_output_channel():
    layer = Linear(3, 3, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[3.0, -1.4, 0.6], [0.0, 0.0, 0.0], [-0.03, 0.016, 0.001]]))
    found = QuantisedSynapses(layer, bits=3).weight()  # -3 to 3 steps of 1 and of 0.01
    assert torch.allclose(found, torch.tensor([[3, -1, 1], [0, 0, 0], [-0.03, 0.02, 0.0]]))


@pytest.mark.parametrize("layer", [Conv(3, 5, 3, padding=1), Linear(12, 5)])
def test_a_layer_computes_with_the_rounded_weights_and_its_own_bias(layer):
    x = torch.rand(2, 4, 3, 5, 5) if isinstance(layer, Conv) else torch.rand(2, 4, 12)
    rounded = QuantisedSynapses(layer, bits=2)
    found = rounded(x)
    with torch.no_grad():
        layer.weight.copy_(rounded.weight())
    assert torch.equal(found, layer(x))


def test_training_moves_the_weights_that_are_rounded():
    layer = Linear(4, 2)
    x = torch.rand(1, 3, 4)
    QuantisedSynapses(layer, bits=8)(x).sum().backward()
    assert torch.allclose(layer.weight.grad, x.sum((0, 1)).expand(2, 4))


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_the_best_step_leaves_the_smallest_error_of_all_that_are_tried(bits):
    values = np.abs(np.random.default_rng(0).normal(size=20_000))
    counts, edges = np.histogram(values, bins=2048, range=(0, values.max()))
    highest = 2**bits - 1

    def error(step):
        return ((values - np.minimum(np.rint(values / step), highest) * step) ** 2).sum()

    found = best_step(counts, float(edges[-1]), highest)
    tried = [error(values.max() * part / 100 / highest) for part in range(1, 101)]
    assert error(found) == pytest.approx(min(tried), rel=0.01)


def test_a_rare_large_value_is_clipped_at_few_bits_and_kept_at_many():
    counts = np.zeros(2048, np.int64)
    counts[:512], counts[-1] = 1000, 1
    assert best_step(counts, 4.0, 3) * 3 < 2
    assert best_step(counts, 4.0, 4095) * 4095 == pytest.approx(4.0, rel=0.02)


def test_a_layer_that_is_always_silent_has_a_step_too():
    assert best_step(np.zeros(2048, np.int64), 0.0, 3) > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("bits", [2, 3, 8])
def test_torchs_own_fake_quantisation_gives_the_same_bits(bits):
    ao = pytest.importorskip("torch.ao.quantization", reason="torch announced that it goes")
    x = torch.rand(1000) * 3
    theirs = ao.FakeQuantize(ao.MinMaxObserver, quant_min=0, quant_max=2**bits - 1, dtype=torch.quint8)
    expected = theirs(x)
    assert torch.equal(rounding(bits, float(theirs.scale))(x), expected)
    layer = Linear(7, 5)
    weights = ao.FakeQuantize(
        ao.PerChannelMinMaxObserver,
        quant_min=-(2 ** (bits - 1) - 1),
        quant_max=2 ** (bits - 1) - 1,
        dtype=torch.qint8,
        qscheme=torch.per_channel_symmetric,
    )
    assert torch.allclose(QuantisedSynapses(layer, bits).weight(), weights(layer.weight), rtol=1e-6)
