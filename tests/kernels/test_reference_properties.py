"""What holds for every input of the reference: any size, any strides, any finite value."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpsta_cli import kernels, rules, surrogates

lif = functools.partial(kernels.lif, backend="reference")

RULES = [rules.BPSA(), rules.BPSTA(), *(rules.STBP(curve) for curve in surrogates.SURROGATES)]
FEW = settings(max_examples=25, deadline=None, derandomize=True)

sizes = st.tuples(st.sampled_from([1, 2, 7]), st.sampled_from([1, 63, 500]))
any_rule = st.sampled_from(RULES)
seeds = st.integers(0, 1000)
dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16])

LAYOUTS = {
    "transposed": lambda x: x.t().contiguous().t(),
    "strided": lambda x: x.repeat_interleave(3, dim=1)[:, 1::3],
    "reversed in time": lambda x: x.flip(0).contiguous().flip(0),
    "padded rows": lambda x: torch.nn.functional.pad(x, (2, 5))[:, 2:-5],
}


def run(x, g, rule, threshold=0.5, decay=0.9):
    # detach keeps the strides, which clone would not
    leaf = x.detach().requires_grad_()
    spikes = lif(leaf, threshold=threshold, decay=decay, rule=rule)
    (gradient,) = torch.autograd.grad(spikes, leaf, g)
    return spikes.detach(), gradient


def randn(shape, seed, dtype):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@FEW
@given(sizes, seeds, any_rule, dtypes, st.sampled_from(list(LAYOUTS)))
def test_strides_of_the_input_and_of_its_error_change_nothing(size, seed, rule, dtype, layout):
    x, g = randn(size, seed, dtype), randn(size, seed + 1, dtype)
    spikes, gradient = run(x, g, rule)
    other_spikes, other_gradient = run(LAYOUTS[layout](x), LAYOUTS[layout](g), rule)
    assert torch.equal(spikes, other_spikes)
    assert torch.equal(gradient, other_gradient)


@FEW
@given(sizes, seeds, any_rule, dtypes)
def test_an_input_expanded_in_time_equals_its_copies(size, seed, rule, dtype):
    steps, n = size
    x, g = randn((1, n), seed, dtype), randn((1, n), seed + 1, dtype)
    expanded = run(x.expand(steps, n), g.expand(steps, n), rule)
    copied = run(x.repeat(steps, 1), g.repeat(steps, 1), rule)
    assert torch.equal(expanded[0], copied[0])
    assert torch.equal(expanded[1], copied[1])


@FEW
@given(sizes, seeds, dtypes)
def test_a_gradient_reaches_the_one_step_that_was_expanded(size, seed, dtype):
    steps, n = size
    one = randn((1, n), seed, dtype).requires_grad_()
    lif(one.expand(steps, n)).sum().backward()
    copies = one.detach().repeat(steps, 1).requires_grad_()
    lif(copies).sum().backward()
    assert one.grad.shape == (1, n)
    torch.testing.assert_close(one.grad[0], copies.grad.sum(0))


@FEW
@given(sizes, seeds, any_rule, dtypes)
def test_outputs_have_shape_and_dtype_of_the_input_and_spikes_are_0_or_1(size, seed, rule, dtype):
    x = randn(size, seed, dtype)
    spikes, gradient = run(x, torch.ones_like(x), rule)
    assert spikes.shape == gradient.shape == x.shape
    assert spikes.dtype == gradient.dtype == dtype
    assert ((spikes == 0) | (spikes == 1)).all()


@FEW
@given(sizes, seeds, any_rule)
def test_neurons_do_not_see_each_other_nor_a_step_the_future(size, seed, rule):
    steps, n = size
    x, g = randn(size, seed, torch.float64), randn(size, seed + 1, torch.float64)
    half, now = n // 2, steps // 2 + 1
    spikes, gradient = run(x, g, rule)
    neighbours = randn((steps, half), seed + 2, torch.float64)
    beside = run(torch.cat([neighbours, x[:, half:]], 1), torch.cat([-g[:, :half], g[:, half:]], 1), rule)
    assert torch.equal(beside[0][:, half:], spikes[:, half:])
    assert torch.equal(beside[1][:, half:], gradient[:, half:])
    later = randn((steps - now, n), seed + 3, torch.float64)
    assert torch.equal(lif(torch.cat([x[:now], later]), rule=rule)[:now], spikes[:now])


@FEW
@given(sizes, seeds, any_rule)
def test_a_part_of_the_neurons_or_of_the_steps_gives_that_part_of_the_result(size, seed, rule):
    steps, n = size
    x, g = randn(size, seed, torch.float64), randn(size, seed + 1, torch.float64)
    spikes, gradient = run(x, g, rule)
    part = run(x[:, n // 2 :], g[:, n // 2 :], rule)
    assert torch.equal(part[0], spikes[:, n // 2 :])
    # torch takes e^x in whole vectors in another way than in the elements left over, and here others are left over
    takes_exponentials = getattr(rule, "surrogate", "") in ("sigmoid", "gaussian")
    rounding = 8 * torch.finfo(torch.float64).eps * float(gradient.abs().max()) if takes_exponentials else 0
    torch.testing.assert_close(part[1], gradient[:, n // 2 :], rtol=0, atol=rounding)
    assert torch.equal(lif(x[: steps // 2 + 1], rule=rule), spikes[: steps // 2 + 1])


@FEW
@given(st.floats(2**-10, 2**10, width=32), st.sampled_from([torch.float64, torch.float32]))
def test_a_potential_exactly_at_the_threshold_fires(threshold, dtype):
    x = torch.full((1, 5), threshold, dtype=dtype)
    below = torch.nextafter(x, torch.zeros_like(x))
    assert (lif(x, threshold=threshold) == 1).all()
    assert (lif(below, threshold=threshold) == 0).all()


@FEW
@given(st.floats(0.01, 3), st.floats(0, 1))
def test_a_threshold_that_float32_rounds_still_gives_finite_gradients(threshold, decay):
    x = torch.full((3, 4), threshold).requires_grad_()  # float32(threshold) may lie below the float64 one
    for rule in RULES:
        spikes = lif(x, threshold=threshold, decay=decay, rule=rule)
        (gradient,) = torch.autograd.grad(spikes.sum(), x)
        assert (spikes == 1).all()
        assert gradient.isfinite().all()


EXTREMES = [0.0, -0.0, 1e-45, -1e-45, 1e-38, 1e-20, 0.5, 1e10, -1e10, 1e30, -1e30]


@FEW
@given(st.lists(st.sampled_from(EXTREMES), min_size=1, max_size=7), any_rule, st.sampled_from([0.0, 0.9, 1.0]))
def test_large_and_denormal_values_give_finite_results(values, rule, decay):
    x = torch.tensor(values).unsqueeze(1)
    spikes, gradient = run(x, torch.ones_like(x), rule, decay=decay)
    assert spikes.isfinite().all()
    assert gradient.isfinite().all()


def test_a_channels_last_image_keeps_its_layout():
    x = torch.randn(3 * 2, 4, 5, 5).to(memory_format=torch.channels_last).view(3, 2, 4, 5, 5)
    spikes = lif(x)
    assert spikes.stride() == x.stride()
    assert torch.equal(spikes, lif(x.contiguous()))


@pytest.mark.parametrize("shape", [(2, 0), (1,), (3, 2, 1, 4, 5)])
def test_any_number_of_axes_after_time_is_allowed(shape):
    x = torch.randn(shape, requires_grad=True)
    lif(x).sum().backward()
    assert x.grad.shape == shape
