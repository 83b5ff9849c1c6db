import numpy as np
import pytest
import torch
from small_stores import write_store
from torch import nn

from bpsta_cli.errors import DataError
from bpsta_cli.evaluation import accuracy
from bpsta_cli.evaluation.accuracy import batches, counting_spikes, cumulative_votes, evaluate
from bpsta_cli.kernels import dispatch
from bpsta_cli.network import build, losses

CPU = torch.device("cpu")
SPARSE = dispatch.choose().name == "cpu"


@pytest.fixture
def dots(tmp_path):
    """Images 1 x 1 x 3 with one bright pixel, whose place is what `Places` predicts."""
    bright = np.array([0, 1, 0, 1, 2, 2, 1])  # the first two samples are for training
    x = (16 * np.eye(3)[bright]).astype(np.uint8).reshape(7, 1, 1, 3)
    return write_store(tmp_path / "store", x, np.array([0, 1, 0, 1, 2, 0, 0]), train=2, classes=3)


@pytest.fixture
def places():
    """A network whose neuron c fires at every step where pixel c is bright, and at no other."""
    network = build("3", (1, 1, 3), 3)
    with torch.no_grad():
        network.layers.linear1.weight.copy_(torch.eye(3))
        network.layers.linear1.bias.zero_()
    return network


def test_accuracy_confusion_and_rates_of_a_network_made_by_hand(places, dots):
    seen = evaluate(places, dots, dots.split("test"), T=4, device=CPU)
    # labels 0 1 2 0 0 are taken for 0 1 2 2 1
    assert seen.confusion == [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
    assert (seen.accuracy, seen.samples) == (3 / 5, 5)
    assert seen.loss == pytest.approx(2 * (1 + 1) / 3 / 5)  # two samples wrong in two classes of three
    assert seen.firing_rates == {"lif1": pytest.approx(1 / 3)}
    assert seen.firing_rate == pytest.approx(1 / 3)


def test_the_first_samples_can_be_asked_for(places, dots):
    seen = evaluate(places, dots, dots.split("test"), T=2, device=CPU, samples=4)
    assert (seen.samples, seen.accuracy) == (4, 3 / 4)
    assert evaluate(places, dots, dots.split("test"), T=2, device=CPU, samples=99).samples == 5


def test_the_loss_is_the_one_asked_for(places, dots):
    test = dots.split("test")
    x, y = next(batches(dots, test, 2, device=CPU))
    for name in ("mse", "cross-entropy", "tet"):
        expected = losses.loss(name, places.votes(x), y).item()
        assert evaluate(places, dots, test, T=2, device=CPU, loss=name).loss == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 7, 39, 40])
def test_the_result_does_not_depend_on_the_batch_size(digits, monkeypatch, size):
    network = build("4C3-MP2-6C3-AP4-2Voting", digits.shape, 10)
    network.train()(next(batches(digits, digits.split("train"), 3, device=CPU))[0])
    monkeypatch.setattr(accuracy, "LOSS_SAMPLES", 16)
    whole = evaluate(network, digits, digits.split("test"), T=3, device=CPU)
    assert 0 < whole.firing_rate < 1
    monkeypatch.setattr(accuracy.batches, "__kwdefaults__", {**batches.__kwdefaults__, "size": size})
    parts = evaluate(network, digits, digits.split("test"), T=3, device=CPU)
    assert parts == whole


def test_batches_are_the_samples_in_order_at_every_step(digits):
    test = digits.split("test")
    got = list(batches(digits, test, 3, device=CPU, samples=17, size=8))
    assert [tuple(x.shape) for x, _ in got] == [(3, 8, 1, 8, 8), (3, 8, 1, 8, 8), (3, 1, 1, 8, 8)]
    assert torch.cat([y for _, y in got]).tolist() == test.y[:17].tolist()
    images = torch.from_numpy(test.x[:17] / 16).float()
    assert all(torch.cat([x for x, _ in got], 1)[t].equal(images) for t in range(3))


def test_an_empty_split_is_refused(places, dots):
    empty = dots.split("test").subset(np.array([], dtype=int))
    with pytest.raises(DataError, match="nothing to evaluate"):
        evaluate(places, dots, empty, T=2, device=CPU)


def test_progress_is_reported_after_every_batch(places, dots, monkeypatch):
    monkeypatch.setattr(accuracy.batches, "__kwdefaults__", {**batches.__kwdefaults__, "size": 2})
    progress = []
    evaluate(places, dots, dots.split("test"), T=1, device=CPU, on_batch=lambda *done: progress.append(done))
    assert progress == [(2, 5), (4, 5), (5, 5)]


def test_dropout_and_batch_statistics_play_no_part(digits):
    network = build("4C3-AP4-8FC-DP-2Voting", digits.shape, 10).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    first, second = (evaluate(network, digits, digits.split("test"), T=2, device=CPU) for _ in range(2))
    assert first == second
    assert all(tensor.equal(before[name]) for name, tensor in network.state_dict().items())


def test_the_twin_has_no_firing_rate(places, dots):
    places.spiking = False
    seen = evaluate(places, dots, dots.split("test"), T=4, device=CPU)
    assert (seen.firing_rate, seen.firing_rates, seen.accuracy) == (None, {}, 3 / 5)


def test_spikes_are_counted_over_steps_samples_and_passes(places):
    x = torch.zeros(4, 2, 1, 1, 3)
    x[1:, 0, 0, 0, 2] = 1
    with counting_spikes(places) as counts:
        places(x)
        places(x[:2])
    assert counts == {"lif1": (3 + 1, 4 * 2 * 3 + 2 * 2 * 3)}
    assert not any(layer._forward_hooks for layer in places.modules())


def test_rates_of_layers_are_weighted_by_their_neurons(dots):
    network = build("3-9-3", (1, 1, 3), 3)
    for layer in (network.layers.linear1, network.layers.linear2):
        nn.init.zeros_(layer.weight)
    nn.init.ones_(network.layers.linear1.bias)
    nn.init.constant_(network.layers.linear2.bias, -1)
    seen = evaluate(network, dots, dots.split("test"), T=3, device=CPU)
    assert seen.firing_rates == {"lif1": 1.0, "lif2": 0.0}
    assert seen.firing_rate == 9 / 12


def test_the_order_of_spikes_does_not_break_a_tie():
    votes = torch.tensor([[0.1, 0.3], [0.2, 0.2], [0.3, 0.1]]).unsqueeze(1)
    ahead, behind = cumulative_votes(votes), cumulative_votes(votes.flip(0))
    assert ahead.dtype == torch.float64  # in float32 a device that adds there gives 0.6 or 0.60000002
    assert ahead[-1, 0, 0] == ahead[-1, 0, 1] == behind[-1, 0, 0]
    assert ahead[:, 0, 0].tolist() == pytest.approx([0.1, 0.3, 0.6])


def test_how_convolutions_are_computed_changes_no_count_and_is_reported_by_layer(digits):
    torch.manual_seed(3)
    network = build("8C3-6C3-MP2-5C3-AP4-2Voting", digits.shape, 10)
    split = digits.split("test")
    found = {}
    for convolution in ("dense", "sparse"):
        network.convolution = convolution
        with accuracy.sparse_shares(network) as shares:
            found[convolution] = evaluate(network, digits, split, T=3, device=CPU, samples=40)
    assert shares == {"conv1": 0, "conv2": float(SPARSE), "conv3": float(SPARSE)}
    dense, sparse = found["dense"], found["sparse"]
    assert sparse.firing_rates == pytest.approx(dense.firing_rates, abs=1e-3)
    assert sparse.loss == pytest.approx(dense.loss, abs=1e-3)
    assert not any(conv.observers for conv in network.convolutions().values())
