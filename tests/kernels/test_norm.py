"""Batch norm outside of a block is held to torch's, and its sums to their definition."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from bpsta_cli import kernels
from bpsta_cli.kernels import block_spec, dispatch
from bpsta_cli.kernels.block_spec import Statistics
from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.cpu import norm as kernel

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

EPS = 1e-5
SHAPES = [(1, 2, 1, 1, 1), (3, 1, 5, 2, 3), (2, 13, 3, 5, 1), (4, 5, 300, 3, 3), (1, 30, 7, 4, 9)]


@pytest.fixture(autouse=True)
def poisoned():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(was)


def tensors(shape, dtype, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(shape, generator=random, dtype=dtype) + 0.7
    weight = torch.rand(shape[2], generator=random, dtype=dtype) + 0.5
    bias = torch.randn(shape[2], generator=random, dtype=dtype) / 2
    return [tensor.requires_grad_() for tensor in (x, weight, bias)]


def torchs(x, weight, bias, *, per_step, relu, running=None):
    mean, var = running or (None, None)
    sets = x if per_step else x.flatten(0, 1)[None]
    normal = torch.stack([F.batch_norm(s, mean, var, weight, bias, running is None, 0.1, EPS) for s in sets])
    return normal.view(x.shape).relu() if relu else normal.view(x.shape)


def assert_equal_to_torch(leaves, tolerance, *, running=None, **options):
    expected = torchs(*leaves, running=running, **options)
    stats = Statistics(*(value.double()[None] for value in running)) if running else None
    found, _ = kernels.norm(*leaves, eps=EPS, stats=stats, **options)
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    error = torch.randn(found.shape, generator=torch.Generator().manual_seed(9), dtype=found.dtype)
    gradients, wanted = (torch.autograd.grad(out, leaves, error) for out in (found, expected))
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=tolerance, atol=tolerance * max(1, other.abs().max().item()))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("per_step", [False, True])
@pytest.mark.parametrize("relu", [False, True])
def test_output_and_every_gradient_are_torchs(shape, per_step, relu):
    if shape[1] * shape[3] * shape[4] > 1:  # torch refuses a single value a channel
        assert_equal_to_torch(tensors(shape, torch.float64), 1e-9, per_step=per_step, relu=relu)


@pytest.mark.parametrize("relu", [False, True])
def test_given_statistics_are_constants(relu):
    running = (torch.linspace(-1, 2, 5).double(), torch.linspace(0.5, 6, 5).double())
    leaves = tensors((3, 2, 5, 4, 3), torch.float64)
    assert_equal_to_torch(leaves, 1e-10, per_step=False, relu=relu, running=running)


def test_float32_agrees_to_its_own_rounding():
    assert_equal_to_torch(tensors((4, 8, 16, 6, 6), torch.float32), 1e-4, per_step=False, relu=True)


def test_gradients_are_those_of_finite_differences():
    leaves = tensors((2, 3, 2, 2, 3), torch.float64)
    assert torch.autograd.gradcheck(lambda *inputs: kernels.norm(*inputs, eps=EPS)[0], leaves)


@pytest.mark.parametrize("relu", [False, True])
def test_with_a_relu_it_is_the_norm_and_torchs_relu_bit_for_bit(relu):
    results = []
    for fused in (False, True):
        leaves = tensors((2, 5, 6, 5, 4), torch.float32)
        y, _ = kernels.norm(*leaves, eps=EPS, relu=relu and fused)
        y = y.relu() if relu and not fused else y
        error = torch.randn(y.shape, generator=torch.Generator().manual_seed(9))
        results.append([y, *torch.autograd.grad(y, leaves, error)])
    assert all(map(torch.equal, *results))


def test_no_bit_depends_on_the_number_of_threads_or_the_layout():
    results = []
    was = torch.get_num_threads()
    for threads in (1, 2, 3):
        for last in (False, True):
            torch.set_num_threads(threads)
            x, weight, bias = tensors((3, 5, 6, 9, 11), torch.float32)
            x = x.detach()
            x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3) if last else x
            leaves = [x.requires_grad_(), weight, bias]
            y, stats = kernels.norm(*leaves, eps=EPS, relu=True)
            results.append([y, *stats, *torch.autograd.grad(y.square().sum(), leaves)])
    torch.set_num_threads(was)
    for other in results[1:]:
        assert all(map(torch.equal, results[0], other))


def defined_sums(first, second):
    """Two sums over [S, B, rows, C] values in the order that README.md of the kernels has."""
    steps, batch, rows, channels = first.shape
    repeats = max(256 // channels, 1)
    result = np.zeros((2, steps, channels))
    for share in range(48):
        begin, end = ((share // 4 + more) * batch // 12 * rows for more in (0, 1))
        begin, end = (begin + (share % 4 + more) * (end - begin) // 4 for more in (0, 1))
        for which, step in np.ndindex(2, steps):
            values = (first, second)[which][step].reshape(-1, channels)[begin:end]
            of_share = np.zeros(channels)
            for start in range(0, len(values), repeats * 32):  # 32 values of a chain, then on in double
                part = values[start : start + repeats * 32]
                chains = np.zeros((repeats, channels), dtype=part.dtype)
                for place in range(0, len(part), repeats):
                    chains[: len(part[place : place + repeats])] += part[place : place + repeats]
                for chain in chains:
                    of_share += chain
            result[which, step] += of_share
    return result


@pytest.mark.parametrize("shape", [(2, 1, 3, 2, 5), (3, 13, 2, 4, 5), (1, 26, 70, 3, 3), (2, 5, 9, 40, 30)])
def test_the_sums_of_the_statistics_are_those_that_are_defined(shape):
    # values in sixteenths around the origin 0: their squares are exact, so that here nothing is fused in effect
    x = (torch.randn(shape, generator=torch.Generator().manual_seed(1)) * 500).round() / 16
    x[0, 0, :, 0, 0] = 0
    rows = x.permute(0, 1, 3, 4, 2).flatten(2, 3).numpy()
    mean, var = kernel.statistics(x, per_step=False)
    sums = defined_sums(rows, rows * rows)
    n = rows.shape[0] * rows.shape[1] * rows.shape[2]
    total = [sums[which][0] for which in (0, 1)]
    for step in range(1, shape[0]):
        total = [total[which] + sums[which][step] for which in (0, 1)]
    assert mean[0].tolist() == (total[0] / n).tolist()
    assert var[0].tolist() == (total[1] / n - (total[0] / n) ** 2).tolist()


@pytest.mark.parametrize("per_step", [False, True])
def test_statistics_do_not_cancel_far_from_zero(per_step):
    x = (torch.randn(3, 4, 6, 5, 5, dtype=torch.float64) + 1e4).float()
    mean, var = kernel.statistics(x, per_step=per_step)
    sets = x.double() if per_step else x.double().flatten(0, 1)[None]
    torch.testing.assert_close(mean, sets.mean((1, 3, 4)), rtol=1e-7, atol=0)
    torch.testing.assert_close(var, sets.var((1, 3, 4), correction=0), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("per_step", [False, True])
def test_the_norms_values_have_the_bits_of_their_specification(dtype, per_step):
    x, weight, bias = tensors((3, 5, 4, 3, 3), dtype)
    stats = kernel.statistics(x, per_step=per_step)
    scale, shift = block_spec.scale_and_shift(weight, bias, stats, EPS)
    for found, value in zip(kernel.affine(x, weight, bias, stats, EPS), (scale, shift, stats.mean), strict=True):
        assert found.equal(value.to(dtype))
    error = torch.randn(x.shape, dtype=dtype)
    y, _ = kernels.norm(x, weight, bias, eps=EPS, per_step=per_step)
    gradients = torch.autograd.grad(y, (weight, bias), error)
    rows = (value.detach().permute(0, 1, 3, 4, 2).flatten(2, 3) for value in (x, error))
    away, given = next(rows) - stats.mean.to(dtype)[:, None, None], next(rows)
    sums = torch.stack([given.double().sum((1, 2)), (given * away).double().sum((1, 2))], 1)
    sums = sums if per_step else sums.sum(0, keepdim=True)
    expected = block_spec.parameter_gradients(block_spec.inverse_deviation(stats, EPS), sums, weight)
    for gradient, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_running_statistics_have_the_bits_of_their_specification(dtype, monkeypatch):
    found = []
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr(library, "unsupported_reason", lambda *_: "for this test")
        random = torch.Generator().manual_seed(5)
        running = tuple(torch.rand(40, generator=random, dtype=dtype) for _ in range(2))
        stats = Statistics(*(torch.rand(40, generator=random, dtype=torch.float64) for _ in range(2)))
        kernels.track_statistics(running, stats, unbiased=12 / 11, momentum=0.1)
        found.append(running)
    assert all(map(torch.equal, *found))
