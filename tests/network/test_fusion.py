"""A network gives the same results whether its blocks run as one operation or layer by layer."""

import itertools

import pytest
import torch

from bpsta_cli import rules
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import block
from bpsta_cli.network import build, fusion, losses

CASES = [
    *itertools.product(
        ["6C3-MP2-5C3-AP2-12FC-2Voting", "3C3-4C2-MP3-2Voting"], [False, True], ["folded", "per-step", "tdbn", "none"]
    ),
    *itertools.product(["resnet18"], [False], ["per-step", "none"]),
]
"""Structure, whether its input is the same at every step, and the norm."""
fused = pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)
"""For what only a block in one operation can show: without the compiled kernels there is none."""


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def fused_blocks(monkeypatch):
    """Counts how often a block runs as one operation."""
    ran = []
    real = fusion.Fusible.run
    monkeypatch.setattr(fusion.Fusible, "run", lambda self, x: ran.append(self) or real(self, x))
    return ran


def passed(network, x, backend):
    """Votes, every gradient, and the state after a training step and an evaluation."""
    for neuron in network.neurons().values():
        neuron.backend = backend
    network.train()
    votes = network.votes(x)
    losses.loss("mse", votes, torch.arange(len(votes[0])) % 3, label_smoothing=0.0).backward()
    network.eval()
    with torch.no_grad():
        evaluated = network.votes(x)
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in network.named_parameters()}
    return {"votes": votes.detach(), "evaluated": evaluated, **gradients, **network.state_dict()}


@fused
@pytest.mark.parametrize("silent", [None, rules.SilentGradient()], ids=["the rule", "silent gradient and spike cost"])
@pytest.mark.parametrize(("structure", "constant", "norm"), CASES)
def test_one_operation_a_block_gives_the_layers_own_votes_gradients_and_statistics(
    structure, constant, norm, silent, monkeypatch
):
    x = torch.randn(1 if constant else 3, 4, 2, 8, 8)
    x = x.expand(3, *x.shape[1:])
    results = {}
    for backend in ("reference", "cpu"):
        torch.manual_seed(1)
        network = build(structure, (2, 8, 8), 3, norm=norm)
        for neuron in network.neurons().values():
            neuron.silent, neuron.spike_cost = silent, 1e-4 if silent else 0.0
        ran = fused_blocks(monkeypatch)
        results[backend] = passed(network, x, backend)
        assert bool(ran) == (backend == "cpu")
    for name, expected in results["reference"].items():
        torch.testing.assert_close(
            results["cpu"][name], expected, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_silent_gradient_and_spike_cost_change_gradients_and_neither_votes_nor_statistics():
    x, results = torch.randn(3, 4, 2, 8, 8), []
    for silent, cost in ((None, 0.0), (rules.SilentGradient(), 0.0), (None, 1e-3)):
        torch.manual_seed(1)
        network = build("6C3-MP2-5C3-AP2-12FC-2Voting", (2, 8, 8), 3)
        for neuron in network.neurons().values():
            neuron.silent, neuron.spike_cost = silent, cost
        results.append(passed(network, x, "auto"))
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(other[name], value) or name.startswith("gradient of")
        assert not torch.equal(other["gradient of layers.conv2.weight"], results[0]["gradient of layers.conv2.weight"])


def test_observers_see_the_same_of_a_block_and_of_its_layers():
    activities = []
    network = build("6C3-MP2-5C3-2Voting", (1, 8, 8), 3)
    x = torch.randn(3, 4, 1, 8, 8)
    for neuron in network.neurons().values():
        neuron.observers.append(activities.append)
    for backend in ("auto", "reference"):
        for neuron in network.neurons().values():
            neuron.backend = backend
        network.votes(x)
    for one, other in zip(activities[:3], activities[3:], strict=True):
        assert (int(one.spike_count), one.neuron_steps) == (int(other.spike_count), other.neuron_steps)


@fused
def test_an_input_that_is_the_same_at_every_step_is_convolved_and_kept_once(monkeypatch):
    lengths = []
    real = block.block_forward
    monkeypatch.setattr(block, "block_forward", lambda x, *rest: lengths.append(len(x)) or real(x, *rest))
    build("6C3-MP2-5C3-2Voting", (1, 8, 8), 3).votes(torch.randn(1, 4, 1, 8, 8).expand(3, 4, 1, 8, 8))
    assert lengths == [1, 3]


@pytest.mark.parametrize("layer", ["conv1", "norm1", "relu1", "lif1", "pool1"])
def test_a_layer_with_a_hook_is_run_by_itself(layer):
    network = build("6C3-MP2-2Voting", (1, 8, 8), 3)
    x = torch.randn(3, 4, 1, 8, 8)
    expected = network.votes(x)
    shapes = []
    network.layers.get_submodule(layer).register_forward_hook(lambda _m, _i, output: shapes.append(output.shape))
    torch.testing.assert_close(network.votes(x), expected)
    assert len(shapes) == 1
    assert len(shapes[0]) == 5


def test_a_single_value_a_channel_is_refused_in_torchs_words():
    network = build("6C3-2Voting", (1, 1, 1), 3)
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        network.votes(torch.randn(1, 1, 1, 1, 1))


@pytest.mark.parametrize("autocast", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("structure", ["6C3-MP2-5C3-AP2-12FC-2Voting", "resnet18"])
def test_under_autocast_on_the_cpu_layers_run_one_by_one_in_its_dtype_and_votes_are_exact(
    structure, autocast, monkeypatch
):
    torch.set_default_dtype(torch.float32)
    ran, dtypes = fused_blocks(monkeypatch), set()
    network = build(structure, (2, 8, 8), 3)
    for neuron in network.neurons().values():
        neuron.register_forward_hook(lambda _m, _i, spikes: dtypes.add(spikes.dtype))
    with torch.autocast("cpu", dtype=autocast):
        votes = network.votes(torch.randn(3, 4, 2, 8, 8))
    votes.square().sum().backward()
    assert ran == []
    assert dtypes == {autocast}
    voters = 10 if structure == "resnet18" else 2
    assert torch.equal(votes * voters, (votes * voters).round())  # in half precision a tenth would be no tenth
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
    assert all(value.dtype != autocast for value in network.state_dict().values())


def test_autocast_leaves_a_network_in_float64_to_the_kernel_that_has_it(monkeypatch):
    network, x = build("6C3-MP2-2Voting", (2, 8, 8), 3), torch.randn(3, 4, 2, 8, 8)
    expected = network.votes(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ran = fused_blocks(monkeypatch)
        features = network.layers[:5](x)
    assert len(ran) == (dispatch.choose().name == "cpu")
    assert features.dtype == expected.dtype == torch.float64
