"""torch.compile, torch.export and torch.jit.trace of a network: the same bits as the network itself."""

import io
import warnings
from pathlib import Path

import pytest
import torch

import bpsta_cli as bpsta
from bpsta_cli import rules
from bpsta_cli.kernels import dispatch, operators
from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.network import losses

LEAKY = str(Path(__file__).parents[2] / "examples" / "leaky_gradient.py")
STRUCTURE = "4C3-MP2-12FC-10Voting"
TRAINED = [({}, False), ({"norm": "per-step"}, False), ({"norm": "none"}, True), ({"method": "ann"}, True)]
"""Settings of a network, and whether its input is the same at every step."""
NO_GPU = ops.unsupported_reason(ops.default_device(), torch.float32, None)
compiled_kernels = pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)


def network(structure=STRUCTURE, **settings):
    torch.manual_seed(0)
    return bpsta.build(structure, (1, 8, 8), 10, **settings)


def images(*, constant=False, batch=5):
    x = torch.rand(1 if constant else 3, batch, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return x.expand(3, batch, 1, 8, 8)


@pytest.fixture(autouse=True)
def _without_what_was_compiled_before():
    torch._dynamo.reset()


def step(layers, called, x):
    """Votes, gradients and running statistics of one training step of `layers`, which are run by `called`."""
    votes = called(x)
    losses.loss("mse", votes[None], torch.arange(len(votes)) % 10).backward()
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in layers.named_parameters()}
    return {"votes": votes.detach(), **gradients, **layers.state_dict()}


@pytest.mark.parametrize(("settings", "constant"), TRAINED, ids=str)
def test_a_training_step_of_a_captured_network_has_the_networks_own_bits(settings, constant):
    x, plain, other = images(constant=constant), network(**settings), network(**settings)
    expected = step(plain, plain, x)
    found = step(other, torch.compile(other, backend="aot_eager", fullgraph=True), x)
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@pytest.mark.skipif(bool(NO_GPU), reason=NO_GPU)
def test_so_has_one_whose_neurons_run_in_triton():
    plain, other = (network("4C3-MP2-2FC-10Voting", backend="gpu").to(ops.default_device()) for _ in range(2))
    x = images(batch=2).to(ops.default_device())
    expected = plain(x)
    expected.sum().backward()
    found = torch.compile(other, backend="aot_eager", fullgraph=True)(x)
    found.sum().backward()
    assert torch.equal(expected, found)
    for name, parameter in plain.named_parameters():
        torch.testing.assert_close(other.get_parameter(name).grad, parameter.grad, rtol=1e-5, atol=1e-7)


@compiled_kernels
def test_the_default_compiler_gives_the_same_bits_too():
    x, plain, other = images(), network("4C3-AP4-10Voting"), network("4C3-AP4-10Voting")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's own
        found = step(other, torch.compile(other, fullgraph=True), x)
    expected = step(plain, plain, x)
    assert [name for name, value in expected.items() if not torch.equal(found[name], value)] == []


@pytest.mark.parametrize("method", ["bpsta", "ann", LEAKY], ids=["bpsta", "ann", "own"])
def test_an_exported_network_is_saved_loaded_and_runs_for_any_batch_whatever_it_was_exported_with(method, tmp_path):
    layers = network(method=method).eval()
    batch = torch.export.Dim("batch", min=2)
    exported = torch.export.export(layers, (images(constant=True),), dynamic_shapes=({1: batch},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(exported, tmp_path / "network.pt2")
        loaded = torch.export.load(tmp_path / "network.pt2").module()
    for x in (images(), images(batch=3)):
        assert torch.equal(loaded(x), layers(x))
    # the twin computes a constant input once, and an exported one the mean over its steps
    torch.testing.assert_close(loaded(images(constant=True)), layers(images(constant=True)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("settings", [{}, {"method": "ann"}, {"backend": "reference"}], ids=str)
def test_a_traced_network_is_saved_loaded_and_runs_for_any_batch(settings):
    layers, file = network(**settings).eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that T is a constant of the trace
        torch.jit.save(torch.jit.trace(layers, (images(constant=True),)), file)
        file.seek(0)
        loaded = torch.jit.load(file)
    for x in (images(), images(batch=3)):
        assert torch.equal(loaded(x), layers(x))


@compiled_kernels
def test_outside_of_capture_no_operator_is_called(monkeypatch):
    for name in operators.__all__:
        if callable(getattr(operators, name)):
            monkeypatch.setattr(operators, name, None)
    layers = network()
    step(layers, layers, images())
    layers.eval()(images())


def test_an_operator_is_given_all_of_a_neuron():
    for rule in (rules.BPSTA(0.3), rules.STBP("sigmoid", 0.7, True)):
        spec = BlockSpec(3, True, 2, 0.4, 0.8, rule, 1e-5, rules.SilentGradient(2.0, 0.3), 1e-3)
        assert operators.neuron.spec_of(operators.neuron.numbers_of(spec), 3, 2) == spec


@compiled_kernels
@pytest.mark.parametrize("silent", [None, rules.SilentGradient(2.0, 0.3)], ids=["the rule", "silent"])
def test_an_operator_says_its_results_shape_and_layout_before_it_runs(silent):
    spec = BlockSpec(3, True, 2, 0.4, 0.8, rules.STBP(), 1e-5, silent, 1e-3)
    x = torch.randn(3, 2, 4, 5, 6, requires_grad=True)
    weight, bias = torch.rand(4, requires_grad=True), torch.rand(4, requires_grad=True)
    numbers = operators.neuron.numbers_of(spec)
    mean, var = torch.zeros(1, 4, dtype=torch.float64), torch.ones(1, 4, dtype=torch.float64)
    kernel, images_of = torch.rand(7, 4, 3, 3, requires_grad=True), torch.rand(6, 4, 5, 6, requires_grad=True)
    checked = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_static")
    for operator, arguments in (
        ("lif", (x, numbers, "cpu")),
        ("lif", (torch.randn(3, 2, 8, requires_grad=True), numbers, "cpu")),
        ("block", (x, weight, bias, mean, var, numbers, 3, 2, True, "cpu")),
        ("norm", (x, weight, bias, mean, var, 1e-5, True, True)),
        ("statistics", (x.detach(), True, "cpu")),
        ("track_statistics", (torch.zeros(4), torch.ones(4), mean[0], var[0], 1.1, 0.1)),
        ("conv", (images_of, kernel, None, 1, 1, 2, None, False)),
        ("conv", (images_of, kernel, torch.rand(7, requires_grad=True), 2, 0, 2, 0.0, False)),
        ("sum_steps", (x,)),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the check's own
            torch.library.opcheck(getattr(torch.ops.bpsta, operator).default, arguments, test_utils=checked)
