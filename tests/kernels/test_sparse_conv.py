"""The sparse convolution is held to torch's own, and leaves to torch what is not made of spikes."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import sparse_conv
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
def assert_equal_to_torch(conv, x):
    found = sparse_conv.convolve(conv, x, max_density=1.0)
    expected = F.conv2d(x.double(), conv.weight.double(), _double(conv.bias), conv.stride, conv.padding)
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


def _double(bias):
    return None if bias is None else bias.double()


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
def test_it_equals_torchs_convolution_up_to_rounding(sizes, filters, kernel, stride, padding, bias, density):
    height, width = (max(n, k - 2 * padding) for n, k in zip(sizes[2:], kernel, strict=True))
    conv = layer(sizes[1], filters, kernel, stride=stride, padding=padding, bias=bias)
    assert_equal_to_torch(conv, spikes(*sizes[:2], height, width, density=density))


@pytest.mark.parametrize("view", [(0, 1, 3, 2), (0, 1, 2, 3)], ids=["transposed", "planes"])
def test_an_input_of_any_strides_is_convolved(view):
    x = spikes(4, 12, 7, 7, density=0.3).permute(view)[::2, 1:]
    assert_equal_to_torch(layer(11, 5, 3, padding=1), x)


def test_places_reach_to_the_end_of_the_widest_row_and_no_further():
    conv = layer(64, 2, 3, padding=1)
    widest = spikes(1, 64, 2, 1024, density=0.01)
    widest[..., -1] = 1
    assert_equal_to_torch(conv, widest)
    with torch.no_grad():
        assert sparse_conv.convolve(conv, spikes(1, 64, 2, 1025, density=0.01), max_density=1.0) is None


@pytest.mark.parametrize("channels", [3, 16])
@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, float("nan"), float("inf"), 1 + 2**-23, 1e-45])
def test_an_input_with_any_other_value_is_left_to_torch(channels, value):
    x = spikes(3, channels, 5, 5, density=0.1)
    x[1, channels - 1, 4, 4] = value
    with torch.no_grad():
        assert sparse_conv.convolve(layer(channels, 4, 3), x, max_density=1.0) is None


def test_minus_zero_is_no_spike():
    x = -torch.zeros(1, 20, 3, 3)
    with torch.no_grad():
        assert torch.equal(sparse_conv.convolve(conv := layer(20, 2, 3), x), conv.bias.view(1, 2, 1, 1))


def test_the_largest_density_asked_for_is_still_convolved():
    conv, x = layer(10, 4, 3), torch.zeros(2, 10, 5, 5)
    x.flatten()[::5] = 1
    with torch.no_grad():
        assert sparse_conv.convolve(conv, x, max_density=0.2) is not None
        assert sparse_conv.convolve(conv, x, max_density=0.199) is None
        x.flatten()[1] = 1
        assert sparse_conv.convolve(conv, x, max_density=0.2) is None


@pytest.mark.parametrize(
    ("channels", "side", "filters", "max_density"),
    [
        (64, 5, 64, sparse_conv.MAX_DENSITY),
        (64, 4, 64, sparse_conv.MAX_DENSITY),
        (256, 5, 64, sparse_conv.MAX_DENSITY),
        (256, 4, 64, sparse_conv.SMALL_IMAGE_MAX_DENSITY),
        (64, 5, 33, sparse_conv.MAX_DENSITY * 33 / 64),
    ],
)
@torch.no_grad()
def test_auto_goes_by_the_density_and_is_more_cautious_where_a_group_is_not_full(channels, side, filters, max_density):
    conv, x = layer(channels, filters, 3, padding=1), torch.zeros(1, channels, side, side)
    x.flatten()[: int(max_density * x.numel())] = 1
    assert sparse_conv.convolve(conv, x) is not None
    x.flatten()[: int(max_density * x.numel()) + 1] = 1
    assert sparse_conv.convolve(conv, x) is None


@torch.no_grad()
def test_autocast_and_weights_whose_changes_leave_no_trace_are_left_to_torch():
    conv, x = layer(4, 4, 3), spikes(1, 4, 6, 6, density=0.1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sparse_conv.convolve(conv, x, max_density=1.0) is None
    with torch.inference_mode():
        assert sparse_conv.convolve(layer(4, 4, 3), x, max_density=1.0) is None
        assert sparse_conv.convolve(conv, x, max_density=1.0) is not None


@torch.no_grad()
def test_auto_leaves_layers_with_little_work_to_torch():
    assert sparse_conv.MIN_PRODUCTS == 128
    for channels, kernel, stride, expected in (
        (14, 3, 1, False),
        (15, 3, 1, True),
        (56, 3, 2, False),
        (57, 3, 2, True),
    ):
        conv, x = layer(channels, 64, kernel, stride=stride), torch.zeros(1, channels, 5, 5)
        assert (sparse_conv.convolve(conv, x) is not None) == expected
        assert sparse_conv.convolve(conv, x, max_density=1.0) is not None


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"dilation": 2},
        {"stride": (1, 2)},
        {"padding": (1, 0)},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "circular"},
        {"dtype": torch.float64},
    ],
    ids=str,
)
def test_other_convolutions_are_left_to_torch(options):
    conv = layer(4, 4, 3, **options)
    with torch.no_grad():
        assert (
            sparse_conv.convolve(conv, spikes(1, 4, 6, 6, density=0.1).to(conv.weight.dtype), max_density=1.0) is None
        )


def test_the_number_of_threads_changes_no_bit():
    conv, x = layer(20, 70, 3, padding=1), spikes(5, 20, 9, 9, density=0.2)
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3):
            torch.set_num_threads(number)
            with torch.no_grad():
                found.append(sparse_conv.convolve(conv, x, max_density=1.0))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def test_new_weights_are_seen():
    conv, x = layer(5, 6, 3), spikes(2, 5, 6, 6, density=0.3)
    assert_equal_to_torch(conv, x)
    with torch.no_grad():
        conv.weight.mul_(2)
    assert_equal_to_torch(conv, x)
    with torch.no_grad():
        conv.bias.add_(1)
    assert_equal_to_torch(conv, x)
    conv.load_state_dict(layer(5, 6, 3).state_dict())
    assert_equal_to_torch(conv, x)
    conv.weight.data = torch.randn(6, 5, 3, 3)
    assert_equal_to_torch(conv, x)
    conv.bias = None
    assert_equal_to_torch(conv, x)
