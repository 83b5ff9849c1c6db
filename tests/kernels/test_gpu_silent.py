"""On a GPU, else in Triton's interpreter: the silent gradient and the spike cost are the reference's."""

import itertools

import pytest
import torch
from test_gpu import (
    DEVICE,
    WHY_NOT,
    agree,
    assert_equal_to_reference,
    on_device,
    poisoned,  # noqa: F401
    quick_interpreter,  # noqa: F401
    randn,
    run,
    small,  # noqa: F401
)

from bpsta_cli import kernels, rules
from bpsta_cli.kernels.gpu import launch
from bpsta_cli.network import build
from tests.kernels.block_layers import RULES
from tests.kernels.block_layers import make as block_of

pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.filterwarnings("ignore:.*deterministic"),  # of torch's own operations on a GPU
]

SILENT = rules.SilentGradient()
NARROW = rules.SilentGradient(tau=1.5, width=0.07)
COST = 0.3
"""No power of two, so that it is rounded."""


def sparse_input(steps, n, dtype):
    """Currents at which neurons are silent in about half of the steps."""
    return randn(steps, n, dtype=dtype, seed=steps) / 2


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_the_neuron_passes_the_references_gradient_under_every_rule(rule):
    assert_equal_to_reference(
        sparse_input(6, 40, torch.float64), randn(6, 40, seed=1), rule, silent=SILENT, spike_cost=COST
    )


@pytest.mark.parametrize(
    ("steps", "n", "dtype", "silent", "cost"),
    [
        (1, 1, torch.float32, SILENT, 0.0),
        (16, 63, torch.float32, NARROW, COST),
        (17, 33, torch.float64, SILENT, -COST),
        (35, 3, torch.float32, SILENT, COST),
        (50, 5, torch.float64, NARROW, 0.0),
        (7, 600, torch.float16, SILENT, COST),
        (19, 20, torch.bfloat16, NARROW, COST),
        (3, 40, torch.float32, None, COST),
    ],
    ids=str,
)
def test_at_any_number_of_steps_and_in_every_dtype(steps, n, dtype, silent, cost):
    x, g = sparse_input(steps, n, dtype), randn(steps, n, dtype=dtype, seed=1)
    assert_equal_to_reference(x, g, rules.BPSTA(), silent=silent, spike_cost=cost)


def test_where_no_neuron_is_silent_the_gradients_have_the_bits_of_the_rule_alone():
    x, g = randn(9, 40, dtype=torch.float32).abs() + 0.5, randn(9, 40, dtype=torch.float32, seed=1)
    for rule in (rules.BPSTA(), rules.STBP()):
        _, alone = run("gpu", x, g, rule)
        _, gated = run("gpu", x, g, rule, silent=SILENT)
        assert torch.equal(alone, gated)


def test_another_cost_compiles_nothing_anew():
    if DEVICE.type == "cpu":
        pytest.skip("the interpreter compiles nothing")
    x, g = sparse_input(4, 40, torch.float32), randn(4, 40, dtype=torch.float32, seed=1)
    run("gpu", x, g, rules.BPSTA(), spike_cost=COST)
    compiled = launch._device_code().backward.device_caches[torch.cuda.current_device()][0]
    before = len(compiled)
    for cost in (0.0, 1.0, 65536.0 * COST):
        run("gpu", x, g, rules.BPSTA(), spike_cost=cost)
    assert len(compiled) == before


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the interpreter computes with NumPy
@pytest.mark.parametrize("rule", [rules.BPSTA(), rules.STBP()], ids=str)
def test_nan_infinity_and_extremes_come_out_as_in_the_reference(rule):
    values = [float("nan"), float("inf"), -float("inf"), 0.0, 0.5, 1e30, -1e30]
    x = torch.tensor(list(itertools.product(values, repeat=3)), device=DEVICE).t().contiguous()
    _, gradient = run("gpu", x, torch.ones_like(x), rule, silent=SILENT)
    _, expected = run("reference", x, torch.ones_like(x), rule, silent=SILENT)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


def gated(*arguments, silent=SILENT, cost=COST, **options):
    return block_of(*arguments, **options)._replace(silent=silent, spike_cost=cost)


@pytest.mark.parametrize(("rule", "options"), [*zip(RULES, itertools.cycle(itertools.product((1, 2), (True, False))))])
def test_the_block_is_its_layers_for_every_rule_pooling_and_norm(rule, options):
    pool, per_step = options
    agree(on_device((3, 2, 2, 3, 5), torch.float64), gated(3, pool=pool, rule=rule), per_step=per_step)


@pytest.mark.parametrize(
    ("shape", "pool", "per_step", "silent"),
    [
        ((3, 2, 2, 5, 3), 2, True, SILENT),
        ((7, 1, 5, 3, 3), 2, False, NARROW),
        ((5, 1, 3, 2, 3), 1, True, SILENT),
        ((5, 1, 3, 3, 3), 2, False, None),
    ],
)
@pytest.mark.usefixtures("small")
def test_odd_sizes_in_several_programs_and_segments(shape, pool, per_step, silent):
    """A neuron of an odd last row is in no window: it gets no error, and the cost of its spikes."""
    agree(on_device(shape, torch.float64), gated(shape[0], pool=pool, silent=silent), per_step=per_step)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.usefixtures("small")
def test_an_input_that_is_the_same_at_every_step(pool):
    x, weight, bias = on_device((1, 1, 2, 3, 3), torch.float64)
    agree([x, weight, bias], gated(5, pool=pool))


def test_in_evaluation_the_statistics_are_constants():
    running = [values.double().to(DEVICE) for values in (torch.linspace(-1, 2, 5), torch.linspace(0.5, 6, 5))]
    agree(on_device((2, 2, 5, 2, 4), torch.float64), gated(2), running=running)


@pytest.mark.parametrize(("dtype", "per_step"), [(torch.bfloat16, True), (torch.float16, False)], ids=str)
def test_in_half_precision_the_block_has_float32s_gradients_rounded_once(dtype, per_step):
    leaves = on_device((3, 2, 3, 2, 3), torch.float32)
    x = leaves[0].detach().to(dtype)
    results = []
    for stored in (x, x.float()):
        leaf = stored.requires_grad_()
        spikes = kernels.block(leaf, *leaves[1:], gated(3), per_step=per_step, backend="gpu").spikes
        error = randn(*spikes.shape, dtype=dtype).to(leaf.dtype)
        results.append([spikes, *torch.autograd.grad(spikes, [*leaves[1:], leaf], error)])
    *same, gradient = results[0]
    *expected_same, expected = results[1]
    assert all(torch.equal(one.double(), two.double()) for one, two in zip(same, expected_same, strict=True))
    torch.testing.assert_close(gradient.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-7)


def test_a_network_whose_neurons_are_silent_and_cost_gives_the_layers_own_gradients():
    x = randn(5, 3, 2, 4, 4)
    results = []
    for backend in ("reference", "gpu"):
        torch.manual_seed(1)
        network = build("4C3-MP2-5C3-2Voting", (2, 4, 4), 3).to(DEVICE, torch.float64)
        for neuron in network.neurons().values():
            neuron.backend, neuron.silent, neuron.spike_cost = backend, SILENT, COST
        network.votes(x).square().sum().backward()
        results.append({name: parameter.grad for name, parameter in network.named_parameters()})
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")
