"""Sums in a fixed order: the compiled ones have the specification's bits, by whatever threads and from any layout."""

import math

import numpy as np
import pytest
import torch

from bpsta_cli import kernels
from bpsta_cli.kernels import dispatch, sums
from bpsta_cli.kernels.cpu import library

CHOICE = dispatch.choose()
SIZES = (0, 1, 15, 16, 17, 4095, 4096, 4097, 70_001)


@pytest.fixture(params=["compiled", "reference"])
def _kind(request, monkeypatch):
    if request.param == "reference":
        monkeypatch.setattr(library, "unsupported_reason", lambda *_: "for this test")
    elif CHOICE.name != "cpu":
        pytest.skip(CHOICE.why)


def random(*shape, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(3), dtype=dtype) * 100


@pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("squared", [False, True])
def test_a_total_has_the_bits_of_the_specification_for_any_number_of_threads(threads, dtype, squared):
    tensors = [random(size, dtype=dtype) for size in SIZES]
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = kernels.totals(tensors, squared=squared)
    torch.set_num_threads(was)
    assert found.tolist() == [sums.reference_total(x, squared=squared) for x in tensors]


@pytest.mark.usefixtures("_kind")
def test_a_total_is_sixteen_chains_added_by_halves_block_by_block():
    x = [float(v) for v in random(4096 + 37).tolist()]
    result = 0.0
    for block in (x[:4096], x[4096:]):
        lanes = [0.0] * 16
        for place, value in enumerate(block):
            lanes[place % 16] += value
        for half in (8, 4, 2, 1):
            lanes = [lanes[lane] + lanes[lane + half] for lane in range(half)]
        result += lanes[0]
    assert kernels.total(torch.tensor(x)).item() == result


@pytest.mark.usefixtures("_kind")
def test_a_total_is_the_sum_within_its_rounding():
    for size in SIZES:
        x = random(size, dtype=torch.float64)
        scale = math.fsum(x.abs().tolist())
        assert kernels.total(x).item() == pytest.approx(math.fsum(x.tolist()), abs=1e-13 * scale)
        squares = math.fsum((x * x).tolist())
        assert kernels.total(x, squared=True).item() == pytest.approx(squares, rel=1e-13)


@pytest.mark.usefixtures("_kind")
def test_a_total_is_of_the_values_as_they_lie_in_memory():
    x = random(6, 5, 7, 9)
    last = x.to(memory_format=torch.channels_last)
    assert kernels.total(last).equal(kernels.total(last.permute(0, 2, 3, 1)))
    gaps = random(6, 5, 14)[..., ::2]
    assert kernels.total(gaps).equal(kernels.total(gaps.contiguous()))
    assert kernels.total(x.bfloat16()).equal(kernels.total(x.bfloat16().float()))


@pytest.mark.usefixtures("_kind")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_total_is_finite_only_if_every_value_is(value):
    x = random(5000)
    x[4999] = value
    assert not kernels.total(x).isfinite()
    assert kernels.total(torch.full((9,), 3e38)).isfinite()


def test_the_total_of_nothing_is_none_or_zero():
    assert kernels.totals([]).tolist() == []
    assert kernels.total(torch.empty(0)).item() == 0


@pytest.mark.usefixtures("_kind")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 3), (2, 1), (7, 5, 3, 4), (3, 50_001)])
def test_steps_are_added_in_the_order_of_their_numbers(dtype, shape):
    x = random(*shape, dtype=dtype)
    result = np.zeros(shape[1:], dtype=x.numpy().dtype)
    for step in x.numpy():
        result = result + step
    layouts = [x, x.transpose(-1, -2).contiguous().transpose(-1, -2), x.repeat_interleave(2, dim=-1)[..., ::2]]
    for layout in layouts:
        assert np.array_equal(kernels.sum_steps(layout).numpy(), result)


@pytest.mark.usefixtures("_kind")
def test_a_repeated_step_is_one_step_of_memory_and_its_gradient_the_sum_over_the_steps():
    x = random(3, 4).requires_grad_()
    y = kernels.repeated(x, 5)
    assert y.shape == (5, 3, 4)
    assert y.stride(0) == 0
    error = random(5, 3, 4)
    (gradient,) = torch.autograd.grad(y, x, error)
    assert gradient.equal(kernels.sum_steps(error))


@pytest.mark.usefixtures("_kind")
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_mean_and_its_gradient_are_torchs(axis):
    x = random(4, 3, 6, dtype=torch.float64).requires_grad_()
    mean = kernels.mean_over(x, axis)
    torch.testing.assert_close(mean, x.mean(axis))
    error = random(*mean.shape, dtype=torch.float64)
    torch.testing.assert_close(*(torch.autograd.grad(y, x, error) for y in (mean, x.mean(axis))))


@pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)
def test_the_number_of_threads_changes_no_bit_of_a_sum_over_steps():
    x, found = random(5, 40_001), []
    was = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        found.append(kernels.sum_steps(x))
    torch.set_num_threads(was)
    assert found[0].equal(found[1])
    assert found[0].equal(found[2])
