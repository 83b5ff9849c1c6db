import numpy as np
import pytest
import torch
from energy_runs import by_hand, memory_store, synapses_of
from small_stores import write_store

from bpsta_cli.energy import account, paper_estimate
from bpsta_cli.evaluation import accuracy
from bpsta_cli.evaluation.accuracy import counting_spikes
from bpsta_cli.network import build

CPU = torch.device("cpu")


def by_name(found):
    return {layer["layer"]: layer for layer in found["layers"]}


def test_two_convolutions_and_an_output_are_those_of_a_count_by_hand(tmp_path):
    found = account(*by_hand(tmp_path), T=5, device=CPU)
    layers = by_name(found)
    # conv1: one pixel, the same at every step: once; it reaches 4 pixels of 2 filters; grey: multiplied
    assert (layers["conv1"]["macs"], layers["conv1"]["acs"]) == (8, 0)
    # conv2: 9 spikes a step reach 4 + 6 + 4 + 6 + 9 + 6 + 4 + 6 + 4 = 49 pixels of 3 filters
    assert (layers["conv2"]["macs"], layers["conv2"]["acs"]) == (0, 5 * 49 * 3)
    # linear1: 9 of 27 neurons at every step, each with 2 synapses
    assert (layers["linear1"]["macs"], layers["linear1"]["acs"]) == (0, 5 * 9 * 2)
    # a dense step: 9 pixels x 9 places of the kernel with padding, 49 without, times channels times filters
    assert [layers[name]["dense_ops"] for name in layers] == [81 * 2, 81 * 2 * 3, 27 * 2]
    assert [layers[name]["synapses"] for name in layers] == [49 * 2, 49 * 2 * 3, 27 * 2]
    assert [layers[name]["neuron_updates"] for name in layers] == [5 * 18, 5 * 27, 5 * 2]
    counted = found["counted"]
    assert (counted["dense_ops"], counted["synapses"], counted["macs"], counted["acs"]) == (702, 446, 8, 825)
    assert (counted["neuron_updates"], counted["shortcut_acs"]) == (235, 0)
    e_snn = 8 * 4.6 + 825 * 0.9 + 235 * 4.6
    assert counted["e_snn_pj"] == pytest.approx(e_snn)
    assert counted["e_ann_pj"] == counted["e_ann_frames_pj"] == pytest.approx(446 * 4.6)
    assert counted["ratio"] == counted["ratio_frames"] == pytest.approx(446 * 4.6 / e_snn)
    assert layers["conv2"]["e_pj"] == pytest.approx(735 * 0.9 + 135 * 4.6)
    assert layers["conv2"]["share"] == pytest.approx((735 * 0.9 + 135 * 4.6) / e_snn)
    assert sum(layer["share"] for layer in found["layers"]) == pytest.approx(1)
    assert [layers[name]["input_density"] for name in layers] == [1 / 9, 1 / 2, 1 / 3]
    assert [layers[name]["firing_rate"] for name in layers] == [1 / 2, pytest.approx(1 / 3), 0]
    assert found["firing_rate"] == pytest.approx((9 + 9) / 47)
    assert found["firing_rates_at"] == {"lif1": [1 / 2] * 5, "lif2": [pytest.approx(1 / 3)] * 5, "lif3": [0] * 5}
    assert found["paper"] == paper_estimate(702, found["firing_rate"], 5)
    assert sum(layer["e_paper_pj"] for layer in found["layers"]) == pytest.approx(found["paper"]["e_snn_pj"])


def test_the_values_of_neurobench_are_those_of_a_count_by_hand(tmp_path):
    found = account(*by_hand(tmp_path), T=5, device=CPU)["neurobench"]
    # the image at all 5 steps; dense operations of all 5 steps
    assert (found["effective_macs"], found["effective_acs"], found["dense"]) == (5 * 8, 825, 5 * 446)
    assert found["activation_sparsity"] == pytest.approx(1 - 18 / 47)
    assert found["connection_sparsity"] == 0
    # weights and biases of conv1, norm1, conv2, norm2, linear1; running mean, variance and one int64 a norm
    values = (18 + 2) + 4 + (54 + 3) + 6 + (54 + 2) + 4 + 6
    assert found["footprint"] == 4 * values + 2 * 8


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
        cost, operations = 4.6 if multiplied else 0.9, layers[name]["macs"] + layers[name]["acs"]
        assert layers[name]["e_pj"] == pytest.approx(cost * operations + 4.6 * layers[name]["neuron_updates"])


def test_neurobench_judges_every_step_of_a_sample_by_itself(digits):
    network = trained_a_little(digits)
    found = account(network, digits, T=4, device=CPU)["neurobench"]
    macs = acs = 0
    for name, x in seen_by(network, digits, 4).items():
        layer = network.synapses()[name]
        for step in x.reshape(-1, *x.shape[2:]):
            spikes = np.isin(step, (0, 1)).all()
            reached = synapses_of(step[None], layer) if step.ndim == 3 else np.count_nonzero(step) * layer.out_features
            macs, acs = macs + (not spikes) * reached, acs + spikes * reached
    assert (found["effective_macs"], found["effective_acs"]) == (macs / 40, acs / 40)


def test_an_average_that_is_a_spike_is_one_for_neurobench_and_not_for_the_count():
    network = build("1C3-AP2-1Voting", (1, 2, 2), 2, norm="folded").eval()
    with torch.no_grad():
        network.layers.conv1.weight.zero_()
        network.layers.conv1.weight[0, 0, 1, 1] = 1  # fires where the image is white
        network.layers.conv1.bias.zero_()
    white, half = np.array([[1, 1], [1, 1]]), np.array([[1, 0], [0, 1]])
    found = account(network, memory_store(np.stack([white, half])[:, None].astype(np.uint8)), T=3, device=CPU)
    # white averages to 1 and half of it to 0.5, at each of 3 steps, for 2 output neurons, over 2 samples
    assert (found["neurobench"]["effective_macs"], found["layers"][1]["macs"]) == (3, 6)
    # the image is all 0 and 1: 4 and 2 pixels with a weight, once for the count and at 3 steps for NeuroBench
    assert (found["neurobench"]["effective_acs"], found["layers"][0]["acs"]) == (3 * 3 + 3, 3)


@pytest.mark.parametrize("grey_first", [True, False])
def test_one_grey_image_makes_the_whole_layer_multiply(tmp_path, monkeypatch, grey_first):
    monkeypatch.setattr(accuracy.batches, "__kwdefaults__", {**accuracy.batches.__kwdefaults__, "size": 1})
    x = np.full((3, 1, 3, 3), 16, dtype=np.uint8)  # white is 1, as a spike is
    x[1 if grey_first else 2] = 8
    store = write_store(tmp_path / "store", x, np.array([0, 1, 0]), train=1, classes=2)
    first = account(build("2C3-1Voting", (1, 3, 3), 2).eval(), store, T=2, device=CPU)["layers"][0]
    assert (first["macs"], first["acs"]) == (49 * 2, 0)


def test_counts_are_per_sample(digits):
    network = trained_a_little(digits)
    one, all_of_it = (account(network, digits, T=2, device=CPU, samples=samples) for samples in (1, None))
    assert (one["samples"], all_of_it["samples"]) == (1, 40)
    assert one["test_samples"] == all_of_it["test_samples"] == 40
    assert one["counted"]["dense_ops"] == all_of_it["counted"]["dense_ops"]
    assert one["counted"]["neuron_updates"] == all_of_it["counted"]["neuron_updates"] == 2 * (256 + 96 + 7 + 20)
    assert 0.2 < all_of_it["counted"]["macs"] / one["counted"]["macs"] < 5


def test_the_twin_has_no_neurons_no_spikes_and_no_estimate(digits):
    network = trained_a_little(digits)
    network.spiking = False
    found = account(network, digits, T=4, device=CPU)
    assert (found["firing_rate"], found["paper"]["ratio"], found["firing_rates_at"]) == (None, None, {})
    assert [found[name]["ratio"] for name in ("memory",)] == [None]
    assert [found["quantised"][name]["break_even_rate"] for name in ("operations", "memory")] == [None, None]
    assert found["neurobench"]["activation_sparsity"] is None
    assert (found["counted"]["acs"], found["counted"]["neuron_updates"]) == (0, 0)
    assert 0 < found["counted"]["macs"] < found["counted"]["synapses"]


def test_frames_of_events_make_the_twin_work_at_every_step():
    network = build("3C3-1Voting", (2, 4, 4), 2).eval()
    generator = np.random.default_rng(0)
    frames = generator.integers(0, 3, (6, 5, 2, 4, 4)).astype(np.uint8)
    found = account(network, memory_store(frames), T=5, device=CPU)
    assert found["frames"] == 5
    for name in ("counted", "memory"):
        assert found[name]["e_ann_frames_pj"] == pytest.approx(5 * found[name]["e_ann_pj"])
        assert found[name]["ratio_frames"] == pytest.approx(5 * found[name]["ratio"])
    # counts of 0, 1 and 2 are multiplied, at every step
    x = frames.transpose(1, 0, 2, 3, 4).reshape(-1, 2, 4, 4)
    assert found["layers"][0]["macs"] == synapses_of(x, network.synapses()["conv1"]) / 6
    assert account(network, memory_store(frames[:, 0]), T=5, device=CPU)["frames"] == 1


def test_the_spikes_of_an_identity_shortcut_are_added_one_by_one():
    network = build("resnet18", (1, 8, 8), 2).eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 8, 8)).astype(np.uint8)
    with counting_spikes(network) as counts:
        found = account(network, memory_store(images), T=2, device=CPU)
    layers = by_name(found)
    shortcut = layers["stage1.block1.shortcut"]
    spikes, _ = counts["stem.lif"]  # the input of the first residual block
    assert (shortcut["macs"], shortcut["acs"], shortcut["dense_ops"]) == (0, spikes / 2, 0)
    assert shortcut["e_pj"] == pytest.approx(0.9 * spikes / 2)
    assert shortcut["e_ann_pj"] == pytest.approx(0.9 * 64 * 8 * 8)
    others = sum(layer["acs"] for layer in found["layers"] if layer["kind"] == "shortcut")
    assert found["counted"]["shortcut_acs"] == others > 0
    # where shapes change the shortcut is a convolution, and drives the same neurons: they are updated once
    assert layers["stage2.block1.shortcut.conv"]["kind"] == "conv"
    assert layers["stage2.block1.shortcut.conv"]["neuron_updates"] == 0
    assert layers["stage2.block1.conv2"]["neuron_updates"] == 2 * 128 * 4 * 4


def test_rates_over_steps_have_the_rate_as_their_mean(digits):
    found = account(trained_a_little(digits), digits, T=4, device=CPU)
    assert list(found["firing_rates_at"]) == list(found["firing_rates"])
    for name, rates in found["firing_rates_at"].items():
        assert sum(rates) / 4 == pytest.approx(found["firing_rates"][name])
    assert len(set(found["firing_rates_at"]["lif1"])) > 1


def test_no_hook_stays_on_the_network(digits):
    network = trained_a_little(digits)
    account(network, digits, T=2, device=CPU)
    assert not any(layer._forward_hooks for layer in network.modules())
