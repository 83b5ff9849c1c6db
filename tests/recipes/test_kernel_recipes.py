"""CONTRIBUTING's recipe of a kernel, done once: a C++ file that is compiled because it is there, and held to torch."""

import pytest
import torch

from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import library

SOURCE = """\
// The running sum over time steps: y[t] = y[t - 1] + x[t], [T, n]. Each sum is taken in the order of t.
#include <cstdint>

template <class Real>
static void running_sum(const Real* x, Real* y, int64_t steps, int64_t n, int threads) {
#pragma omp parallel for num_threads(threads)
    for (int64_t i = 0; i < n; i++) {
        Real sum = 0;
        for (int64_t t = 0; t < steps; t++) y[t * n + i] = sum += x[t * n + i];
    }
}

extern "C" void running_sum_float32(const float* x, float* y, int64_t steps, int64_t n, int threads) {
    running_sum(x, y, steps, n, threads);
}

extern "C" void running_sum_float64(const double* x, double* y, int64_t steps, int64_t n, int threads) {
    running_sum(x, y, steps, n, threads);
}
"""


@pytest.fixture
def _compiled(monkeypatch, tmp_path):
    if dispatch.choose().name != "cpu":
        pytest.skip("no compiled kernels here")
    source = tmp_path / "running_sum.cpp"
    source.write_text(SOURCE)
    monkeypatch.setattr(library, "SOURCES", (source,))
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path))
    library._library.cache_clear()
    yield
    library._library.cache_clear()


def running_sum(x):
    y = torch.full_like(x, float("nan"))  # what the kernel does not write shows
    library.call("running_sum", x.dtype, x, y, len(x), x[0].numel())
    return y


@pytest.mark.usefixtures("_compiled")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 2, 3)])
def test_a_kernel_is_one_file_and_equals_its_specification_at_odd_sizes(dtype, shape):
    x = torch.randn(shape, dtype=dtype)
    expected = x.clone()
    for t in range(1, len(x)):
        expected[t] += expected[t - 1]
    assert torch.equal(running_sum(x), expected)
