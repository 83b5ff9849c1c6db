"""The account with memory against a count by hand (`by_hand`, T = 5)."""

import numpy as np
import pytest
import torch
from energy_runs import by_hand, memory_store

from bpsta_cli.energy import TECHS, account
from bpsta_cli.energy.costs import full_width
from bpsta_cli.energy.counting import count
from bpsta_cli.energy.memory import Parts, snn_parts
from bpsta_cli.network import build

CPU = torch.device("cpu")
TECH = TECHS["45nm-fp32"].model_copy(
    update={
        "add_pj": 2.0,
        "multiply_pj": 3.0,
        "int_add_pj": 0.25,
        "int_multiply_pj": 0.75,
        "sram": ((4, 10.0), (4004, 14.0)),  # 10 pJ, and 0.004 for each value of 4 bytes after the first
    }
)
QUEUE = 10 + 999 * 0.004


def access(values):
    return 10 + (values - 1) * 0.004


def test_memory_and_addresses_of_the_spiking_network_are_those_of_a_count_by_hand(tmp_path):
    found = account(*by_hand(tmp_path), T=5, device=CPU, tech=TECH)
    # conv1, as in the twin: 98 synapses within the image; its 18 currents are written once and read 5 times
    # conv2: 45 spikes reach 735 synapses; linear1: 45 spikes reach 90
    expected = Parts(
        operations=98 * 5 + 735 * 2 + 90 * 2 + 235 * (5 + 2) + (45 + 45) * 2,
        addressing=(9 + 18 + 2 * 9) * 0.25 + 2 * 45 * 1.0 + (735 + 90) * 0.25,
        inputs=98 * access(9) + (45 + 45) * QUEUE,
        weights=98 * access(18) + 735 * access(54) + 90 * access(54),
        biases=90 * access(2) + 135 * access(3) + 10 * access(2),
        potentials=90 * access(18)
        + 2 * (735 * access(27) + 90 * access(2))
        + 2 * (90 * access(18) + 135 * access(27) + 10 * access(2)),
        outputs=18 * access(18) + (45 + 45) * QUEUE,
    )
    assert found["memory"]["snn"] == pytest.approx(expected.by_name())
    assert found["memory"]["e_snn_pj"] == pytest.approx(expected.total)
    assert sum(layer["e_memory_pj"] for layer in found["layers"]) == pytest.approx(expected.total)


def test_memory_and_addresses_of_the_twin_are_those_of_a_count_by_hand(tmp_path):
    found = account(*by_hand(tmp_path), T=5, device=CPU, tech=TECH)
    expected = Parts(
        operations=446 * 5 + 47 * 2,
        addressing=((9 + 18 + 2 * 9) + (18 + 27 + 3 * 9) + (27 + 2)) * 0.25,
        inputs=98 * access(9) + 294 * access(18) + 27 * access(27),
        weights=98 * access(18) + (294 + 54) * access(54),
        biases=18 * access(2) + 27 * access(3) + 2 * access(2),
        outputs=18 * access(18) + 27 * access(27) + 2 * access(2),
    )
    assert found["memory"]["ann"] == pytest.approx(expected.by_name())
    assert found["memory"]["ratio"] == pytest.approx(expected.total / found["memory"]["e_snn_pj"])
    assert sum(layer["e_ann_memory_pj"] for layer in found["layers"]) == pytest.approx(expected.total)


def test_the_shortcut_of_a_residual_block_reads_spikes_and_potentials_and_no_weights():
    network = build("resnet18", (1, 8, 8), 2).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    found = account(network, memory_store(images), T=2, device=CPU, tech=TECH)
    rows = {layer["layer"]: layer for layer in found["layers"]}
    row, values = rows["stage1.block2.shortcut"], 64 * 8 * 8
    assert row["e_memory_pj"] == pytest.approx(row["acs"] * (2.0 + 0.25 + QUEUE + 2 * access(values)))
    # the twin: read what it adds and what it adds to, add, write
    assert row["e_ann_memory_pj"] == pytest.approx(values * (2.0 + 2 * 0.25 + 3 * access(values)))


def test_events_of_the_data_do_not_rise_with_the_firing_rate():
    frames = np.random.default_rng(0).integers(0, 2, (4, 3, 1, 4, 4)).astype(np.uint8)
    network = build("2C3-1Voting", (1, 4, 4), 2).eval()
    torch.nn.init.ones_(network.layers.norm1.bias)  # fires
    counts = count(network, memory_store(frames), T=3, device=CPU)
    prices = full_width(TECH)
    for row, driven in zip(counts.rows, (False, True), strict=True):
        silent, firing = (snn_parts(row, counts, prices, TECH, rate_factor=times) for times in (0.0, 1.0))
        assert (silent.inputs < firing.inputs) == (silent.weights < firing.weights) == driven
        assert silent.biases == firing.biases > 0


def test_what_a_shortcut_hands_on_in_the_twin_is_added_too():
    network = build("resnet18", (1, 8, 8), 2, method="ann").eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    rows = account(network, memory_store(images), T=2, device=CPU, tech=TECH)["layers"]
    shortcuts = [row for row in rows if row["kind"] == "shortcut"]
    assert all(row["e_pj"] == pytest.approx(2.0 * row["acs"]) and row["macs"] == 0 for row in shortcuts)
    assert shortcuts[0]["acs"] > 0
