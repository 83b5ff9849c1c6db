"""What a notebook does, in at most five lines each."""

import pytest
import torch

import bpsta_cli as bpsta
from bpsta_cli.errors import SettingsError
from bpsta_cli.training.run_directory import RunDir


def test_the_neuron_is_a_layer_of_any_module_by_position_and_by_name():
    for neuron in (bpsta.LIF("bpsta"), bpsta.LIF(rule="bpsta"), bpsta.LIF("bpsta", alpha=0.5)):
        model = torch.nn.Sequential(torch.nn.Linear(100, 10), neuron)
        model(torch.rand(8, 64, 100)).mean(0).sum().backward()
        assert model[0].weight.grad.abs().sum() > 0
    assert bpsta.LIF("bpsta", alpha=0.5).rule == bpsta.rules.BPSTA(0.5)


def test_a_network_trains_in_a_loop_of_ones_own():
    network = bpsta.build("16FC-10Voting", input_shape=(1, 4, 4), classes=10)
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.05)
    x, labels = torch.rand(4, 20, 1, 4, 4), torch.arange(20) % 10
    before = None
    for _ in range(20):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(5 * network(x), labels)
        loss.backward()
        optimiser.step()
        before = loss.item() if before is None else before
    assert loss.item() < before


def test_a_run_is_trained_as_events_and_loaded(tmp_path):
    settings = bpsta.training.settings(
        "digits", T=2, epochs=2, network="4C3-AP4-10Voting", train_samples=100, alpha=0.3
    )
    data = bpsta.training.data(settings, tmp_path / "data")
    events = list(bpsta.training.train(settings, data, str(tmp_path / "run")))
    network = bpsta.load(str(tmp_path / "run"))

    kinds = [type(event).__name__ for event in events]
    assert kinds[0] == "Begun"
    assert kinds.count("EpochDone") == 2
    assert kinds.count("StepDone") == events[1].steps * 2
    assert kinds[-1] == "EpochDone"
    assert network(torch.rand(2, 3, 1, 8, 8)).shape == (3, 10)
    assert network.neurons()["lif1"].rule == bpsta.rules.BPSTA(0.3)
    assert RunDir(str(tmp_path / "run")).metrics()["epochs"] == 2


def test_settings_are_the_recipes_with_what_is_given_on_top():
    recipe, given = bpsta.training.settings("digits"), bpsta.training.settings("digits", epochs=4, lr=0.02, decay=0.5)
    assert (given.data.epochs, given.training.lr, given.neuron.decay) == (4, 0.02, 0.5)
    assert given.data.network == recipe.data.network
    assert given.data.warmup_epochs / 4 == pytest.approx(recipe.data.warmup_epochs / recipe.data.epochs, abs=0.25)
    assert bpsta.training.settings("digits", method="ann").make_rule() is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epoch": 3}, "unknown setting.*got epoch.*Did you mean epochs"),
        ({"method": "bpsa", "alpha": 0.3}, "it has none, got alpha"),
        ({"T": 0}, "unusable value in the arguments.*T:"),
        ({"alpha": -1}, "alpha"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(options, text):
    with pytest.raises(SettingsError, match=text):
        bpsta.training.settings("digits", **options)
