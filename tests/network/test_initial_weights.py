import math

import numpy as np
import pytest
import torch
from torch import nn

from bpsta_cli.network import build
from bpsta_cli.network.initial_weights import draw_weights

STRUCTURE = "12C3-MP2-16C3-AP2-40FC-4Voting"


def drawn(seed, structure=STRUCTURE):
    network = build(structure, (2, 8, 8), 10)
    draw_weights(network, seed)
    return network


def test_weights_follow_from_the_seed_alone():
    torch.manual_seed(1)
    first = drawn(3).state_dict()
    torch.manual_seed(2)
    torch.testing.assert_close(drawn(3).state_dict(), first, rtol=0, atol=0)
    other = drawn(4).state_dict()
    changed = {name for name in first if not first[name].equal(other[name])}
    assert changed == {f"layers.{name}.{part}" for name in drawn(3).synapses() for part in ("weight", "bias")}


def test_a_layers_weights_do_not_depend_on_the_others():
    longer = drawn(3, "12C3-MP2-16C3-AP2-40FC-20FC-4Voting")
    assert longer.layers.linear1.weight.equal(drawn(3).layers.linear1.weight)


@pytest.mark.parametrize("name", ["conv2", "linear1"])
def test_they_are_spread_as_torchs_own(name):
    layer = getattr(drawn(0).layers, name)
    bound = 1 / math.sqrt(nn.init._calculate_correct_fan(layer.weight, "fan_in"))
    values = torch.cat([layer.weight.flatten(), layer.bias]).sort().values
    assert values.abs().max() <= bound
    expected = torch.linspace(-bound, bound, len(values))
    assert (values - expected).abs().max() < 3 * bound / math.sqrt(len(values)), "uniform: Kolmogorov's distance"


def test_the_bits_are_these():
    """Written down once: any other machine or version of numpy must give the same."""
    weights = drawn(0).layers.conv1.weight.detach().contiguous().numpy().ravel()[:6]
    assert weights.view(np.uint32).tolist() == BITS


BITS = [1043415504, 3188991880, 1029436701, 3184859827, 3179453852, 3175475772]
