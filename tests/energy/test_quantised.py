"""The quantised account against a count by hand (`by_hand`, T = 5)."""

import pytest
import torch
from energy_runs import by_hand

from bpsta_cli.energy import account

CPU = torch.device("cpu")


def test_the_quantised_twin_and_its_break_even_rate_are_those_of_a_count_by_hand(tmp_path):
    found = account(*by_hand(tmp_path), T=5, device=CPU)["quantised"]
    assert (found["bits"], found["weight_bits"]) == (3, 8)
    # 8-bit MACs cost 0.2 + 0.1, those of 3 bits 0.075 + 0.1, a spike 0.1
    silent = 8 * 0.3 + 235 * 0.3
    driven = 825 * 0.1
    twin = 98 * 0.3 + (294 + 54) * 0.175 + 47 * 0.3
    operations = found["operations"]
    assert operations["e_snn_pj"] == pytest.approx(silent + driven)
    assert operations["e_ann_pj"] == pytest.approx(twin)
    assert operations["ratio"] == pytest.approx(twin / (silent + driven))
    assert operations["break_even_rate"] == pytest.approx(18 / 47 * (twin - silent) / driven)


def test_at_the_break_even_rate_a_network_costs_what_its_quantised_twin_does(tmp_path):
    # the spikes of all layers rise with the rate; 2 of 3 channels instead of 1 and 2 of 2 instead of 1 double them
    network, store = by_hand(tmp_path)
    once = account(network, store, T=2, device=CPU)["quantised"]
    with torch.no_grad():
        network.layers.norm1.bias.fill_(1)
        network.layers.norm2.bias[1] = 1
    twice = account(network, store, T=2, device=CPU)
    for name in ("operations", "memory"):
        rate, other = (found[name]["break_even_rate"] for found in (once, twice["quantised"]))
        assert rate == pytest.approx(other)
        # E_SNN lies on the straight line through both
        slope = (twice["quantised"][name]["e_snn_pj"] - once[name]["e_snn_pj"]) / (18 / 47)
        assert once[name]["e_snn_pj"] + slope * (rate - 18 / 47) == pytest.approx(once[name]["e_ann_pj"])
    assert twice["firing_rate"] == pytest.approx(36 / 47)


def test_a_network_that_costs_more_than_its_quantised_twin_without_a_spike_never_breaks_even(tmp_path):
    found = account(*by_hand(tmp_path), T=200, device=CPU)["quantised"]
    assert found["operations"]["break_even_rate"] is None
