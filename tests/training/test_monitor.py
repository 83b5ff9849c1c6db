import pytest
import torch

from bpsta_cli.errors import TrainingError
from bpsta_cli.network import build, losses
from bpsta_cli.training.monitor import DYING, monitoring


@pytest.fixture
def network():
    return build("4C3-AP4-6FC-2Voting", (1, 4, 4), 3).train()


X, Y = torch.rand(3, 8, 1, 4, 4), torch.arange(8) % 3


def step(network, monitor, x=X):
    network.zero_grad()
    loss = losses.loss("mse", network.votes(x), Y)
    loss.backward()
    monitor.after_backward(loss.detach(), len(Y))
    return monitor.read()


def test_rates_are_the_mean_over_the_epochs_steps(network):
    with monitoring(network) as monitor:
        spikes = []
        handle = network.neurons()["lif1"].register_forward_hook(lambda _m, _i, out: spikes.append(out.mean().item()))
        step(network, monitor)
        with torch.no_grad():
            network.layers.norm1.bias.add_(1)
        step(network, monitor)
        handle.remove()
    assert 0 < spikes[0] < spikes[1]
    assert list(monitor.firing_rates()) == ["lif1", "lif2", "lif3"]
    assert monitor.firing_rates()["lif1"] == pytest.approx(sum(spikes) / 2)


def test_gradient_norms_are_root_mean_squares_over_the_epochs_steps(network):
    norms = []
    with monitoring(network) as monitor:
        for x in (X, 2 * X):
            step(network, monitor, x)
            norms.append(network.synapses()["conv1"].weight.grad.norm().item())
    found = monitor.gradient_norms()
    assert list(found) == ["conv1", "linear1", "linear2"]
    assert found["conv1"] == pytest.approx(((norms[0] ** 2 + norms[1] ** 2) / 2) ** 0.5)


def test_silent_and_saturated_layers_are_named_with_what_to_try(network):
    with torch.no_grad():
        network.layers.linear1.weight.fill_(0)
        network.layers.linear1.bias.fill_(1)  # every neuron of lif2 always fires
        network.layers.linear2.weight.fill_(0)
        network.layers.linear2.bias.fill_(-1)  # none of lif3 does
    with monitoring(network) as monitor:
        step(network, monitor)
    saturated, silent = monitor.warnings("Mend it.")
    assert saturated.startswith("lif2 fires at 1.00, above 0.9")
    assert "higher threshold" in saturated
    assert silent.startswith("lif3 was silent")
    assert silent.endswith("Mend it.")


def test_healthy_layers_are_not_warned_of(network):
    with monitoring(network) as monitor:
        monitor.rates = {"lif1": torch.tensor(0.9), "lif2": torch.tensor(DYING, dtype=torch.float64)}
        monitor.passes.update(["lif1", "lif2"])
    assert monitor.warnings("Mend it.") == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_input_that_is_not_finite_is_refused_with_its_first_layers_name(network, value):
    x = X.clone()
    x[1, 2, 0, 3, 3] = value
    with monitoring(network) as monitor, pytest.raises(TrainingError, match="input of layer lif1 that is not"):
        step(network, monitor, x)


def test_a_layer_in_the_middle_that_is_not_finite_is_the_one_named(network):
    with torch.no_grad():
        network.layers.linear1.bias[3] = float("inf")
    with monitoring(network) as monitor, pytest.raises(TrainingError, match="input of layer lif2 that"):
        step(network, monitor)


def test_a_constant_input_that_is_not_finite_is_refused_too(network):
    x = torch.full((8, 1, 4, 4), float("nan")).expand(3, 8, 1, 4, 4)
    with monitoring(network) as monitor, pytest.raises(TrainingError, match="input of layer lif1"):
        step(network, monitor, x)


def test_losses_of_several_steps_are_read_at_once_and_only_once(network):
    with monitoring(network) as monitor:
        for value in (0.25, 0.5):
            monitor.after_backward(torch.tensor(value), len(Y))
        assert monitor.read() == [(0.25, 8), (0.5, 8)]
        monitor.after_backward(torch.tensor(1.0), 3)
        assert monitor.read() == [(1.0, 3)]


def test_a_step_that_was_not_finite_is_refused_when_later_ones_are_read_with_it(network):
    with monitoring(network) as monitor:
        network.votes(X * float("nan"))
        for _ in range(2):
            monitor.after_backward(torch.tensor(0.1), len(Y))
            network.votes(X)
        with pytest.raises(TrainingError, match="input of layer lif1"):
            monitor.read()


def test_an_input_that_is_finite_in_float16_is_not_refused_for_its_sum(network):
    network.spiking = False
    with monitoring(network) as monitor, torch.autocast("cpu", torch.float16):
        network.votes(torch.full((3, 8, 1, 4, 4), 3e4).half())
    assert monitor.inputs["conv1"].isfinite()


def test_a_gradient_beyond_float16_is_left_out_where_its_step_is(network):
    with monitoring(network, may_overflow=True) as monitor:
        step(network, monitor)
        before = monitor.squared_norms["linear1"].clone()
        network.layers.linear1.weight.grad[0, 0] = float("inf")
        monitor.after_backward(torch.tensor(0.1), len(Y))
        monitor.read()
    assert torch.equal(monitor.squared_norms["linear1"], before)


def test_the_twin_is_watched_at_its_synapses(network):
    network.spiking = False
    with monitoring(network) as monitor:
        step(network, monitor)
        assert monitor.firing_rates() == {}
        assert list(monitor.gradient_norms()) == ["conv1", "linear1", "linear2"]
        with torch.no_grad():
            network.layers.conv1.bias[0] = float("nan")
        with pytest.raises(TrainingError, match="input of layer linear1 that"):
            step(network, monitor)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_refused(network, value):
    with monitoring(network) as monitor:
        network.votes(X)
        monitor.after_backward(torch.tensor(value), len(Y))
        with pytest.raises(TrainingError, match=r"a loss \((nan|inf)\) that is not"):
            monitor.read()


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
def test_a_gradient_that_is_not_finite_is_refused_with_its_layers_name(network, value):
    with monitoring(network) as monitor:
        step(network, monitor)
        network.layers.linear1.weight.grad[0, 0] = value
        monitor.after_backward(torch.tensor(0.1), len(Y))
        with pytest.raises(TrainingError, match="gradient of layer linear1 that"):
            monitor.read()


@pytest.mark.parametrize("name", ["linear2.weight", "norm1.running_var"])
def test_what_the_last_step_left_behind_is_looked_at(network, name):
    with monitoring(network) as monitor:
        monitor.after_epoch(0.1)
        network.layers.get_submodule(name.split(".")[0]).state_dict()[name.split(".")[1]].view(-1)[0] = float("nan")
        with pytest.raises(TrainingError, match=f"a {name} after the last step"):
            monitor.after_epoch(0.1)


def test_a_test_loss_that_is_not_finite_is_refused(network):
    with monitoring(network) as monitor, pytest.raises(TrainingError, match=r"test loss \(nan\)"):
        monitor.after_epoch(float("nan"))


def test_passes_in_evaluation_are_not_counted(network):
    with monitoring(network) as monitor:
        network.eval()(X)
        assert monitor.inputs == monitor.rates == {}


@pytest.mark.parametrize("spiking", [True, False])
def test_nothing_stays_on_the_network(network, spiking):
    network.spiking = spiking

    def left_behind():
        return any(layer._forward_hooks or getattr(layer, "observers", ()) for layer in network.modules())

    def interrupted():
        with monitoring(network):
            assert left_behind()
            raise KeyError

    with pytest.raises(KeyError):
        interrupted()
    assert not left_behind()
