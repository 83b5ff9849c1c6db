"""The CPU block's silent gradient and spike cost are held to torch's layers around the reference neuron."""

import itertools

import pytest
import torch
from block_layers import RULES, assert_equal_to_torch, make, tensors

from bpsta_cli import kernels, rules
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.block_spec import POOLS

pytestmark = pytest.mark.skipif(dispatch.choose().name != "cpu", reason=dispatch.choose().why)

SILENT = rules.SilentGradient()
BOTH = {"silent": SILENT, "spike_cost": 0.3}


@pytest.fixture(autouse=True)
def poisoned():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(was)


def run(block, shape=(4, 3, 6, 5, 7), dtype=torch.float64, **options):
    """Spikes, statistics, and the gradients of the input, the norm's gain and its shift."""
    leaves = tensors(shape, dtype)
    spikes, spike_count, stats = kernels.block(*leaves, block, backend="cpu", **options)
    error = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(9), dtype=dtype)
    return [spikes.detach(), spike_count, *stats], torch.autograd.grad(spikes, leaves, error)


def same_bits(one, other):
    return all(a.numpy().tobytes() == b.numpy().tobytes() for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("options", [BOTH, {"silent": rules.SilentGradient(1.0, 0.7)}, {"spike_cost": -0.4}], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("relu", "pool"), [*itertools.product((True, False), POOLS)])
def test_every_gradient_is_torchs_for_every_rule_relu_and_pool(rule, relu, pool, options):
    leaves = tensors((5, 3, 5, 6, 7), torch.float64)
    assert_equal_to_torch(leaves, make(5, relu=relu, pool=pool, rule=rule, **options))


@pytest.mark.parametrize(
    "shape",
    [(1, 1, 1, 2, 2), (2, 3, 1, 3, 9), (7, 1, 70, 5, 33), (8, 2, 300, 3, 3), (16, 1, 8, 4, 65), (70, 2, 3, 3, 2)],
)
@pytest.mark.parametrize(("per_step", "pool"), [*itertools.product((False, True), POOLS)])
def test_so_it_is_at_odd_sizes_for_statistics_of_each_step_and_for_more_steps_than_a_word_has_bits(
    shape, per_step, pool
):
    assert_equal_to_torch(tensors(shape, torch.float64), make(shape[0], pool=pool, **BOTH), per_step=per_step)


@pytest.mark.parametrize("pool", POOLS)
def test_so_it_is_for_300_steps_of_an_input_that_stays_and_for_statistics_that_are_given(pool):
    assert_equal_to_torch(tensors((1, 2, 3, 5, 4), torch.float64), make(300, pool=pool, **BOTH))
    running = (torch.linspace(-1, 2, 5).double(), torch.linspace(0.5, 6, 5).double())
    assert_equal_to_torch(tensors((4, 3, 5, 5, 6), torch.float64), make(4, pool=pool, **BOTH), running=running)


@pytest.mark.parametrize("rule", [RULES[0], RULES[1], rules.STBP()], ids=str)
@pytest.mark.parametrize("steps", [8, 40])
def test_float32_agrees_to_its_own_rounding(rule, steps):
    leaves = tensors((steps, 4, 16, 8, 8), torch.float32)
    assert_equal_to_torch(leaves, make(steps, rule=rule, **BOTH), tolerance=1e-4)


def test_the_cost_acts_on_neurons_that_no_window_takes():
    x, weight, bias = tensors((1, 2, 3, 5, 5), torch.float64)
    running = (torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    with torch.no_grad():
        x.fill_(2.0)
        weight.fill_(1.0)
        bias.zero_()
    stats = kernels.Statistics(*(value[None] for value in running))
    spikes = kernels.block(x, weight, bias, make(1, spike_cost=3.0), stats=stats, backend="cpu").spikes
    (gradient,) = torch.autograd.grad(spikes, x, torch.zeros_like(spikes))
    torch.testing.assert_close(gradient, torch.full_like(x, 3.0 / 2.0), rtol=1e-4, atol=0)  # cost o / u with u = 2


def test_forward_and_statistics_do_not_know_of_them():
    for options in ({}, {"per_step": True}):
        assert same_bits(run(make(4), **options)[0], run(make(4, **BOTH), **options)[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("pool", POOLS)
def test_where_no_neuron_is_silent_every_gradient_has_the_bits_it_has_without(rule, pool, dtype):
    # without decay, every neuron fires at every step
    found, expected = (
        run(make(4, rule=rule, pool=pool, decay=0.0, silent=silent), dtype=dtype, stats=all_fire())
        for silent in (SILENT, None)
    )
    neurons = 4 * 3 * 6 * 5 * 7
    assert found[0][1] == neurons
    assert same_bits(found[1], expected[1])


def all_fire():
    """Statistics by which every value of `tensors` is far above the norm's mean."""
    return kernels.Statistics(torch.full((1, 6), -50.0, dtype=torch.float64), torch.ones(1, 6, dtype=torch.float64))


def test_the_number_of_threads_changes_no_bit():
    was, results = torch.get_num_threads(), []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(make(4, **BOTH), (4, 5, 6, 9, 11), torch.float32)[1])
    torch.set_num_threads(was)
    assert same_bits(results[0], results[1])
    assert same_bits(results[0], results[2])


@pytest.mark.parametrize("per_step", [False, True])
def test_in_place_the_gradient_is_the_same(per_step):
    results = []
    for in_place in (False, True):
        x, weight, bias = tensors((4, 3, 5, 6, 7), torch.float64)
        x = x.detach().permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3).requires_grad_()
        options = {"per_step": per_step, "in_place": in_place, "backend": "cpu"}
        spikes = kernels.block(x, weight, bias, make(4, **BOTH), **options).spikes
        results.append(torch.autograd.grad(spikes.square().sum(), (x, weight, bias)))
    assert same_bits(*results)
