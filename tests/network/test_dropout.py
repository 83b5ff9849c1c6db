import pytest
import torch

from bpsta_cli.network import build
from bpsta_cli.network.dropout import NeuronDropout, kept_neurons
from bpsta_cli.random_numbers import Stream


def test_dropout_silences_the_same_neurons_at_every_step_and_others_in_every_sample():
    layer = NeuronDropout(0.25).train()
    y = layer(torch.ones(3, 50, 40))
    assert all(step.equal(y[0]) for step in y)
    assert not y[0, 0].equal(y[0, 1])
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / 0.75]))
    assert (y == 0).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_dropout_draws_anew_in_training_and_does_nothing_otherwise():
    layer, x = NeuronDropout(0.5), torch.ones(3, 5, 40)
    assert not layer(x).equal(layer(x))
    assert layer.eval()(x) is x
    assert NeuronDropout(0.0)(x) is x


def seeded(samples, p=0.5):
    layer = NeuronDropout(p).train()
    layer.stream, layer.samples = Stream("dropout", 1, 0, "dropout1"), samples
    return layer


def test_a_samples_mask_is_the_same_in_any_batch_and_at_any_place_in_it():
    x = torch.ones(3, 5, 41)
    y = seeded([7, 2, 9, 0, 4])(x)
    assert y[:, [1, 3, 4]].equal(seeded([2, 0, 4])(x[:, :3]))
    assert y.flip(1).equal(seeded([4, 0, 9, 2, 7])(x))
    assert len({tuple(mask) for mask in y[0].tolist()}) == 5


def test_a_mask_depends_on_seed_epoch_and_layer_and_on_nothing_of_torch():
    x = torch.ones(1, 4, 50)

    def masks(*key):
        layer = NeuronDropout(0.5).train()
        layer.stream, layer.samples = Stream("dropout", *key), range(4)
        return layer(x)

    found = [masks(*key) for key in [(0, 0, "a"), (1, 0, "a"), (0, 1, "a"), (0, 0, "b")]]
    assert all(not one.equal(other) for at, one in enumerate(found) for other in found[:at])
    torch.manual_seed(5)
    assert found[0].equal(masks(0, 0, "a"))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.75])
def test_so_many_neurons_are_silenced_and_the_others_scaled(p):
    y = seeded(range(50), p)(torch.ones(3, 50, 200))
    assert all(step.equal(y[0]) for step in y)
    torch.testing.assert_close(y.unique(), torch.tensor([0, 1 / (1 - p)]))
    assert (y == 0).float().mean().item() == pytest.approx(p, abs=0.02)


def test_a_mask_is_that_of_the_neurons_whatever_the_order_of_memory():
    x = torch.ones(2, 3, 4, 5, 6)
    last = torch.ones(6, 4, 5, 6).to(memory_format=torch.channels_last).view(2, 3, 4, 5, 6)
    assert seeded([1, 2, 3])(x).equal(seeded([1, 2, 3])(last))


def test_the_bits_of_a_mask_are_these():
    """Written down once: any other machine or version of numpy must give the same."""
    kept = kept_neurons(Stream("dropout", 3, 1, "dropout1"), [0, 5], 16, 0.5)
    assert ["".join(map(str, mask)) for mask in kept.astype(int).tolist()] == BITS


def test_a_network_draws_by_seed_epoch_and_sample_while_asked_to_and_with_torch_before_and_after():
    network = build("6C3-DP-8FC-DP-2Voting", (1, 8, 8), 3, dropout=0.4).train()
    layers = [layer for layer in network.modules() if isinstance(layer, NeuronDropout)]
    with network.dropout_by(4, 2):
        network.dropout_samples([3, 8])
        assert [list(layer.samples) for layer in layers] == [[3, 8], [3, 8]]
        first, second = (layer(torch.ones(1, 2, 64)) for layer in layers)
        assert not first.equal(second)
        assert first.equal(layers[0](torch.ones(1, 2, 64)))
    assert [layer.stream for layer in layers] == [None, None]
    assert not layers[0](torch.ones(1, 2, 64)).equal(layers[0](torch.ones(1, 2, 64)))


BITS = ["0001101110011011", "1000001100011101"]
