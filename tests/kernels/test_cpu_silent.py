"""The compiled neuron's silent gradient and spike cost are held to the reference."""

import itertools
import math

import pytest
import torch

from bpsta_cli import kernels, rules, surrogates
from bpsta_cli.kernels import dispatch, reference

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

RULES = [
    rules.BPSA(),
    rules.BPSTA(),
    *(rules.STBP(curve, 0.7, detach) for curve, detach in itertools.product(surrogates.SURROGATES, (False, True))),
]
DTYPES = [torch.float32, torch.float64]
SIZES = [*itertools.product((1, 2, 7), (1, 63, 1025)), (16, 4097), (33, 130), (65, 70)]
SILENT = [rules.SilentGradient(), rules.SilentGradient(tau=1.0, width=1.0), rules.SilentGradient(2.3, 0.05)]
NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def poisoned_and_one_thread():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was, threads = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    yield
    torch.use_deterministic_algorithms(was)
    torch.set_num_threads(threads)


def drawn(*shape, dtype=torch.float32):
    random = torch.Generator().manual_seed(len(shape) + shape[0])
    return [torch.randn(shape, generator=random, dtype=torch.float64).to(dtype) for _ in range(2)]


def run(backend, x, g, rule, **options):
    leaf = x.detach().requires_grad_()
    spikes = kernels.lif(leaf, rule=rule, backend=backend, **options)
    return spikes.detach(), torch.autograd.grad(spikes, leaf, g)[0]


def assert_equal_to_reference(x, g, rule, **options):
    spikes, gradient = run("cpu", x, g, rule, **options)
    expected_spikes, expected = run("reference", x, g, rule, **options)
    assert torch.equal(spikes, expected_spikes)
    largest = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0
    tolerance = 8 * torch.finfo(x.dtype).eps * largest  # two ways to take the sigmoid, and the steps add up
    torch.testing.assert_close(gradient, expected, rtol=0, atol=tolerance, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_spikes_and_gradients_equal_the_reference_at_odd_sizes_and_many_steps(rule, dtype):
    for size, silent, cost in zip(SIZES, itertools.cycle(SILENT), itertools.cycle((0.0, 0.3)), strict=False):
        assert_equal_to_reference(*drawn(*size, dtype=dtype), rule, silent=silent, spike_cost=cost)


@pytest.mark.parametrize("silent", SILENT, ids=str)
def test_so_they_do_with_more_steps_than_a_chunk_was_made_for(silent):
    assert_equal_to_reference(*drawn(300, 130), rules.BPSTA(), silent=silent, spike_cost=-0.2)


@pytest.mark.parametrize("rule", [rules.BPSTA(), rules.STBP()], ids=str)
def test_a_spike_cost_alone_has_the_references_bits(rule):
    x, g = drawn(7, 1025)
    for one, other in zip(*(run(name, x, g, rule, spike_cost=0.3) for name in ("cpu", "reference")), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_a_neuron_that_is_never_silent_has_the_bits_it_has_without(rule, dtype):
    x, g = drawn(7, 1025, dtype=dtype)
    x[0, ::3] = 0.5  # fires at once, and 40 steps are too few to forget it
    silent = rules.SilentGradient(tau=40.0)
    never = ~reference.silent_steps(potentials(x), 0.5, silent).any(0)
    assert never[::3].all()
    assert not never.all()
    (_, found), (_, expected) = run("cpu", x, g, rule, silent=silent), run("cpu", x, g, rule)
    assert found[:, never].numpy().tobytes() == expected[:, never].numpy().tobytes()
    assert not torch.equal(found[:, ~never], expected[:, ~never])


def potentials(x):
    v, found = torch.zeros_like(x[0]), []
    for x_t in x:
        found.append(v * 0.9 + x_t)
        v = found[-1] * (found[-1] < 0.5)
    return torch.stack(found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rule", [rules.BPSA(), rules.BPSTA(), rules.STBP(), rules.STBP("gaussian")], ids=str)
def test_nan_infinity_and_extremes_come_out_as_in_the_reference(rule, dtype):
    values = [NAN, INF, -INF, 0.0, -0.0, 1e-45, 0.5, 12.0, -17.5, -40.0, -800.0, 1e10, -1e10, -1e30]
    x = torch.tensor(list(itertools.product(values, repeat=3)), dtype=dtype).t().contiguous()
    _, g = drawn(*x.shape, dtype=dtype)
    rounding = 8 * torch.finfo(dtype).eps
    for decay in (0.0, 0.9):
        options = {"decay": decay, "silent": rules.SilentGradient(), "spike_cost": 0.25}
        spikes, gradient = run("cpu", x, g, rule, **options)
        expected_spikes, expected = run("reference", x, g, rule, **options)
        assert torch.equal(spikes, expected_spikes)
        torch.testing.assert_close(gradient, expected, rtol=rounding, atol=rounding, equal_nan=True)


def test_layouts_constant_inputs_and_threads_change_no_bit():
    x, g = drawn(5, 4, 30, 9, 11)
    options = {"silent": rules.SilentGradient(), "spike_cost": 0.1}
    expected = run("cpu", x, g, rules.BPSTA(), **options)[1]
    last = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    for threads, one in ((1, last), (2, x), (3, last)):
        torch.set_num_threads(threads)
        assert torch.equal(run("cpu", one, g, rules.BPSTA(), **options)[1], expected)
    assert_equal_to_reference(x[:1].expand_as(x), g, rules.BPSTA(), **options)


def test_a_width_or_a_tau_at_the_ends_of_their_range_is_as_in_the_reference():
    x, g = drawn(9, 300, dtype=torch.float64)
    for silent in (rules.SilentGradient(1e9, 0.2), rules.SilentGradient(3.0, 1e-9), rules.SilentGradient(3.0, 1e9)):
        assert_equal_to_reference(x, g, rules.BPSTA(), silent=silent)
    below = torch.full((1, 3), math.nextafter(0.5, 0), dtype=torch.float64)
    assert_equal_to_reference(below, torch.ones_like(below), rules.BPSTA(), silent=rules.SilentGradient(3.0, 1e-9))
