"""The sparse convolution has the bits of the dense one, and leaves to that what is not made of spikes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bpsta_cli import kernels
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import convolution
from bpsta_cli.network.layers import Conv

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)


def spikes(*shape, density, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=random) < density).float()


def layer(channels, filters, kernel, **options):
    torch.manual_seed(1)
    return Conv(channels, filters, kernel, **options).eval()


@torch.no_grad()
def assert_equal_to_dense(conv, x):
    found, is_sparse = kernels.conv(conv, x, batch=len(x), convolution="sparse")
    assert is_sparse
    dense = kernels.conv(conv, x, batch=len(x), convolution="dense").images
    assert found.numpy().tobytes() == dense.numpy().tobytes()


@torch.no_grad()
def is_sparse(conv, x, convolution="sparse"):
    return kernels.conv(conv, x, batch=len(x), convolution=convolution).sparse


@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (3, 20, 9, 9))),
    filters=st.sampled_from([1, 7, 16, 17, 33, 64, 65, 130]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    bias=st.booleans(),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
@settings(max_examples=40, deadline=None)
def test_it_has_the_bits_of_the_dense_convolution(sizes, filters, kernel, stride, padding, bias, density):
    height, width = (max(n, k - 2 * padding) for n, k in zip(sizes[2:], kernel, strict=True))
    conv = layer(sizes[1], filters, kernel, stride=stride, padding=padding, bias=bias)
    assert_equal_to_dense(conv, spikes(*sizes[:2], height, width, density=density))


@pytest.mark.parametrize("view", [(0, 1, 3, 2), (0, 1, 2, 3)], ids=["transposed", "planes"])
def test_an_input_of_any_strides_is_convolved(view):
    x = spikes(4, 12, 7, 7, density=0.3).permute(view)[::2, 1:]
    assert_equal_to_dense(layer(11, 5, 3, padding=1), x)


def test_places_reach_to_the_end_of_the_widest_row_and_no_further():
    conv = layer(64, 2, 3, padding=1)
    widest = spikes(1, 64, 2, 1024, density=0.01)
    widest[..., -1] = 1
    assert_equal_to_dense(conv, widest)
    assert not is_sparse(conv, spikes(1, 64, 2, 1025, density=0.01))


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, float("nan"), float("inf"), 1 + 2**-23, 1e-45])
def test_an_input_with_any_other_value_is_convolved_densely(channels, value):
    x = spikes(3, channels, 5, 5, density=0.1)
    x[1, channels - 1, 4, 4] = value
    assert not is_sparse(layer(channels, 4, 3), x)


def test_minus_zero_is_no_spike():
    x = -torch.zeros(1, 20, 3, 3)
    assert_equal_to_dense(layer(20, 2, 3), x)


def test_the_largest_density_asked_for_is_still_convolved():
    conv, x = layer(10, 4, 3), torch.zeros(2, 10, 5, 5)
    x.flatten()[::5] = 1
    operation = convolution.operation_of(conv)

    def sparse_up_to(density):
        with torch.no_grad():
            return convolution.convolve(conv, operation, x, batch=2, max_density=density).sparse

    assert sparse_up_to(0.2)
    assert not sparse_up_to(0.199)
    x.flatten()[1] = 1
    assert not sparse_up_to(0.2)


@pytest.mark.parametrize(
    ("filters", "max_density"), [(64, convolution.MAX_DENSITY), (33, convolution.MAX_DENSITY * 33 / 64)]
)
def test_auto_goes_by_the_density_and_is_more_cautious_where_a_group_is_not_full(filters, max_density):
    conv, x = layer(64, filters, 3, padding=1), torch.zeros(1, 64, 5, 5)
    x.flatten()[: int(max_density * x.numel())] = 1
    assert is_sparse(conv, x, "auto")
    x.flatten()[: int(max_density * x.numel()) + 1] = 1
    assert not is_sparse(conv, x, "auto")


def test_auto_computes_layers_with_little_work_densely():
    assert convolution.MIN_PRODUCTS == 128
    for channels, kernel, stride, expected in (
        (14, 3, 1, False),
        (15, 3, 1, True),
        (56, 3, 2, False),
        (57, 3, 2, True),
    ):
        conv, x = layer(channels, 64, kernel, stride=stride), torch.zeros(1, channels, 5, 5)
        assert is_sparse(conv, x, "auto") == expected
        assert is_sparse(conv, x)


@pytest.mark.parametrize("options", [{"groups": 2}, {"padding": "same"}, {"dtype": torch.float64}], ids=str)
def test_what_the_kernel_does_not_know_is_not_sparse(options):
    conv = layer(4, 4, 3, **options)
    assert not is_sparse(conv, spikes(1, 4, 6, 6, density=0.1).to(conv.weight.dtype))


def test_the_number_of_threads_changes_no_bit():
    conv, x = layer(20, 70, 3, padding=1), spikes(5, 20, 9, 9, density=0.2)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            assert_equal_to_dense(conv, x)
    finally:
        torch.set_num_threads(threads)


def test_new_weights_are_seen():
    conv, x = layer(5, 6, 3), spikes(2, 5, 6, 6, density=0.3)
    assert_equal_to_dense(conv, x)
    with torch.no_grad():
        conv.weight.mul_(2)
    assert_equal_to_dense(conv, x)
