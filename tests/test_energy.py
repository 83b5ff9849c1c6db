import itertools

import numpy as np
import pytest
import torch
from conftest import write_store

from bpsta_cli import evaluation
from bpsta_cli.energy import E_AC, E_MAC, account, fan_out, paper_estimate
from bpsta_cli.layers import Conv
from bpsta_cli.networks import build

CPU = torch.device("cpu")

TABLE_5 = [
    (0.082, 35.1),
    (0.183, 15.7),
    (0.097, 29.6),
    (0.176, 16.3),
    (0.108, 26.6),
    (0.214, 13.4),
    (0.083, 34.6),
    (0.165, 17.4),
    (0.177, 16.2),
]


@pytest.mark.parametrize(("rate", "ratio"), TABLE_5)
def test_the_estimate_gives_the_ratios_of_the_papers_table_5(rate, ratio):
    found = paper_estimate(1_000, rate, 16)
    assert round(found["ratio"], 1) == ratio
    assert found["ratio"] == pytest.approx(46 / (16 * rate))
    assert found["e_ann_pj"] == pytest.approx(4600)
    assert found["e_snn_pj"] == pytest.approx(1_000 * rate * 0.1 * 16)


def test_a_silent_network_has_no_ratio():
    assert paper_estimate(1_000, 0.0, 16)["ratio"] is None


def test_the_constants_are_those_of_45_nm():
    assert pytest.approx(4.6) == E_MAC
    assert pytest.approx(0.9) == E_AC


def synapses_of(x, layer):
    """Synapses that the non-zero values of x [N, C, H, W] reach, one by one."""
    (pad_y, pad_x), (step_y, step_x), (tall, wide) = layer.padding, layer.stride, layer.kernel_size
    _, _, height, width = x.shape
    high, broad = (height + 2 * pad_y - tall) // step_y + 1, (width + 2 * pad_x - wide) // step_x + 1
    reached = 0
    for out_y, out_x, k_y, k_x in itertools.product(range(high), range(broad), range(tall), range(wide)):
        row, column = out_y * step_y + k_y - pad_y, out_x * step_x + k_x - pad_x
        if 0 <= row < height and 0 <= column < width:
            reached += np.count_nonzero(x[:, :, row, column]) * layer.out_channels
    return reached


@pytest.mark.parametrize("padding", [0, 1, (2, 0)])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("kernel", [1, 3, (3, 2), 4])
def test_fan_out_is_that_of_a_count_pixel_by_pixel(kernel, stride, padding):
    layer = Conv(1, 1, kernel, stride=stride, padding=padding)
    found = fan_out(layer, 7, 6)
    for row, column in itertools.product(range(7), range(6)):
        x = np.zeros((1, 1, 7, 6))
        x[0, 0, row, column] = 1
        assert found[row, column] == synapses_of(x, layer)


def test_fan_out_at_borders_and_corners_is_smaller():
    assert fan_out(Conv(1, 1, 3, padding=1), 3, 4).tolist() == [[4, 6, 6, 4], [6, 9, 9, 6], [4, 6, 6, 4]]


def by_name(found):
    return {layer["layer"]: layer for layer in found["layers"]}


def test_two_convolutions_and_an_output_are_those_of_a_count_by_hand(tmp_path):
    x = np.zeros((2, 1, 3, 3), dtype=np.uint8)
    x[:, 0, 0, 0] = 8  # one grey pixel, in a corner
    store = write_store(tmp_path / "store", x, np.array([0, 1]), train=1, classes=2)
    network = build("2C3-3C3-1Voting", (1, 3, 3), 2, norm="folded").eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        network.layers.conv1.bias[0] = 1.0  # channel 0 fires everywhere, channel 1 nowhere
        network.layers.norm1.weight.fill_(1)
        network.layers.norm2.bias[2] = 1.0  # channel 2 of 3 fires everywhere
    found = account(network, store, T=5, device=CPU)
    layers = by_name(found)
    # conv1: one pixel, the same at every step: once; it reaches 4 pixels of 2 filters; grey: multiplied
    assert (layers["conv1"]["macs"], layers["conv1"]["acs"], layers["conv1"]["dense_ops"]) == (8, 0, 162)
    # conv2: 9 spikes a step reach 4 + 6 + 4 + 6 + 9 + 6 + 4 + 6 + 4 = 49 pixels of 3 filters
    assert (layers["conv2"]["macs"], layers["conv2"]["acs"], layers["conv2"]["dense_ops"]) == (0, 5 * 49 * 3, 486)
    # linear1: 9 of 27 neurons at every step, each with 2 synapses
    assert (layers["linear1"]["macs"], layers["linear1"]["acs"], layers["linear1"]["dense_ops"]) == (0, 5 * 9 * 2, 54)
    counted = found["counted"]
    assert (counted["dense_ops"], counted["macs"], counted["acs"]) == (702, 8, 825)
    assert counted["neuron_updates"] == 5 * (18 + 27 + 2)
    e_snn = 8 * 4.6 + 825 * 0.9 + 235 * 4.6
    assert counted["e_snn_pj"] == pytest.approx(e_snn)
    assert counted["e_ann_pj"] == pytest.approx(702 * 4.6)
    assert counted["ratio"] == pytest.approx(702 * 4.6 / e_snn)
    assert layers["conv2"]["share"] == pytest.approx(735 * 0.9 / e_snn)
    assert [layers[name]["input_density"] for name in layers] == [1 / 9, 1 / 2, 1 / 3]
    assert [layers[name]["firing_rate"] for name in layers] == [1 / 2, pytest.approx(1 / 3), 0]
    assert found["firing_rate"] == pytest.approx((9 + 9) / 47)
    assert found["paper"] == paper_estimate(702, found["firing_rate"], 5)


def seen_by(network, store, T):
    """The input of every layer with synapses, for the whole test part."""
    inputs = {}
    handles = [
        layer.register_forward_hook(lambda _m, i, _o, name=name: inputs.update({name: i[0].numpy()}))
        for name, layer in network.synapses().items()
    ]
    images = torch.from_numpy(np.array(store.split("test").x)).float() * store.scale
    with torch.no_grad():
        network.eval().votes(images.expand(T, *images.shape))
    for handle in handles:
        handle.remove()
    return inputs


def trained_a_little(store):
    """Batch norm has seen the data, so that every layer fires and none always does."""
    network = build("4C3-MP2-6C3-AP2-7FC-DP-2Voting", store.shape, 10).train()
    images = torch.from_numpy(np.array(store.split("train").x)).float() * store.scale
    for _ in range(5):
        network(images.expand(4, *images.shape))
    return network


def test_every_count_is_that_of_a_walk_over_the_synapses(digits):
    network = trained_a_little(digits)
    inputs = seen_by(network, digits, 4)
    layers = by_name(account(network, digits, T=4, device=CPU))
    for name in ("conv1", "conv2"):
        x = inputs[name][:1] if name == "conv1" else inputs[name]
        walked = synapses_of(x.reshape(-1, *x.shape[2:]), network.synapses()[name]) / 40
        assert layers[name]["macs"] + layers[name]["acs"] == pytest.approx(walked)
        assert 0 < layers[name]["input_density"] < 1
    for name, outputs in (("linear1", 7), ("linear2", 20)):
        assert layers[name]["macs"] + layers[name]["acs"] == np.count_nonzero(inputs[name]) * outputs / 40 > 0


def test_spikes_are_accumulated_and_pixels_and_averages_are_multiplied(digits):
    layers = by_name(account(trained_a_little(digits), digits, T=4, device=CPU))
    for name, multiplied in (("conv1", True), ("conv2", False), ("linear1", True), ("linear2", False)):
        assert (layers[name]["macs"] > 0, layers[name]["acs"] > 0) == (multiplied, not multiplied)
        cost = 4.6 if multiplied else 0.9
        assert layers[name]["e_pj"] == pytest.approx(cost * (layers[name]["macs"] + layers[name]["acs"]))
    assert sum(layer["share"] for layer in layers.values()) < 1


@pytest.mark.parametrize("grey_first", [True, False])
def test_one_grey_image_makes_the_whole_layer_multiply(tmp_path, monkeypatch, grey_first):
    monkeypatch.setattr(evaluation.batches, "__kwdefaults__", {**evaluation.batches.__kwdefaults__, "size": 1})
    x = np.full((3, 1, 3, 3), 16, dtype=np.uint8)  # white is 1, as a spike is
    x[1 if grey_first else 2] = 8
    store = write_store(tmp_path / "store", x, np.array([0, 1, 0]), train=1, classes=2)
    first = account(build("2C3-1Voting", (1, 3, 3), 2).eval(), store, T=2, device=CPU)["layers"][0]
    assert (first["macs"], first["acs"]) == (49 * 2, 0)


def test_counts_are_per_sample(digits):
    network = trained_a_little(digits)
    one, all_of_it = (account(network, digits, T=2, device=CPU, samples=samples) for samples in (1, None))
    assert (one["samples"], all_of_it["samples"]) == (1, 40)
    assert one["counted"]["dense_ops"] == all_of_it["counted"]["dense_ops"]
    assert one["counted"]["neuron_updates"] == all_of_it["counted"]["neuron_updates"] == 2 * (256 + 96 + 7 + 20)
    assert 0.2 < all_of_it["counted"]["macs"] / one["counted"]["macs"] < 5


def test_the_twin_has_no_neurons_no_spikes_and_no_estimate(digits):
    network = trained_a_little(digits)
    network.spiking = False
    found = account(network, digits, T=4, device=CPU)
    assert (found["firing_rate"], found["paper"]["ratio"]) == (None, None)
    assert (found["counted"]["acs"], found["counted"]["neuron_updates"]) == (0, 0)
    assert 0 < found["counted"]["macs"] < found["counted"]["dense_ops"]


def test_no_hook_stays_on_the_network(digits):
    network = trained_a_little(digits)
    account(network, digits, T=2, device=CPU)
    assert not any(layer._forward_hooks for layer in network.modules())
