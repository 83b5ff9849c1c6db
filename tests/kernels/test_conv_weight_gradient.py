"""The gradients of weights and biases are held to the definition of their sums, bit for bit, and to torch's own."""

import itertools

import numpy as np
import pytest
import torch
from conv_definition import weight_gradient as defined
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import conv_weight_gradient, library
from bpsta_cli.kernels.cpu.conv import sizes_of
from bpsta_cli.kernels.cpu.conv_weight_gradient import bias_gradient, sparse_weight_gradient, weight_gradient
from bpsta_cli.kernels.cpu.held import all_of
from bpsta_cli.kernels.cpu.sparse_conv import list_spikes

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

DTYPES = [torch.float32, torch.float64]
SIDES = [(1, 1), (2, 3), (7, 5), (40, 30)]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


class Case:
    """A convolution's input, the gradient of its output, and the sizes of both."""

    def __init__(self, x, filters, kernel, stride, padding, batch):
        weight = torch.empty(filters, x.shape[1], *([kernel] * 2 if isinstance(kernel, int) else kernel))
        self.x, self.batch, self.kernel = x, batch, tuple(weight.shape[2:])
        self.stride, self.padding, self.shape = stride, padding, tuple(weight.shape)
        self.sizes = sizes_of(x, weight, stride, padding)
        sides = (self.sizes.out_height, self.sizes.out_width)
        self.grad = draw(len(x), filters, *sides, dtype=x.dtype, seed=1)

    def dense(self):
        return weight_gradient(self.x, self.grad, self.sizes, all_of(self.batch))

    def sparse(self):
        spikes = list_spikes(self.x, self.sizes, max_density=1.0)
        return sparse_weight_gradient(spikes, self.grad, all_of(self.batch))

    def of_bias(self):
        return bias_gradient(self.grad, all_of(self.batch))


def case(images, channels, height, width, filters, kernel, stride=1, *, batch=1, dtype=torch.float32, padding=None):
    padding = kernel // 2 if padding is None else padding
    return Case(draw(images, channels, height, width, dtype=dtype), filters, kernel, stride, padding, batch)


def odd(dtype=torch.float32):
    """Cases that together reach every branch of the kernels."""
    return [
        case(1, 1, 1, 1, 1, 1, dtype=dtype),
        case(13, 3, 2, 3, 17, 3, batch=13, dtype=dtype),
        case(26, 7, 7, 5, 33, 5, 2, batch=13, dtype=dtype),
        case(3, 20, 40, 30, 10, 3, batch=3, dtype=dtype),  # several blocks in an image, each in several pieces
        case(3, 8, 18, 17, 40, 3, 2, dtype=dtype),
        case(2, 2, 3, 1030, 5, 3, dtype=dtype),  # a block of one row
        case(26, 33, 1, 1, 100, 1, batch=26, dtype=dtype),
        case(1040, 20, 1, 1, 17, 1, batch=65, dtype=dtype),  # a linear layer with many images
        case(40, 150, 3, 3, 20, 3, batch=20, dtype=dtype),  # several pieces of work
        case(5, 40, 7, 5, 70, 1, 2, batch=5, dtype=dtype),
        case(2, 9, 4, 4, 9, 3, padding=4, dtype=dtype),  # output pixels that see padding alone
    ]


def same_bits(a, b):
    return a.shape == b.shape and a.contiguous().numpy().tobytes() == b.contiguous().numpy().tobytes()


DEFINED = [
    (26, 2, 3, 4, 3, 3, 1, 13),
    (5, 1, 4, 3, 9, 2, 2, 1),
    (40, 1, 8, 8, 1, 1, 1, 2),  # several blocks in a share
    (2, 1, 40, 30, 1, 1, 1, 2),  # several blocks in an image
    (1, 1, 2, 1030, 1, 1, 1, 1),
    (26, 17, 1, 1, 3, 1, 1, 13),
]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("images", "channels", "height", "width", "filters", "kernel", "stride", "batch"), DEFINED)
def test_the_weights_gradient_has_the_bits_of_the_definition(
    images, channels, height, width, filters, kernel, stride, batch, dtype
):
    drawn = case(images, channels, height, width, filters, kernel, stride, batch=batch, dtype=dtype)
    x, grad = drawn.x.numpy(), drawn.grad.numpy()
    expected = defined(x, grad, drawn.kernel, stride, drawn.padding, batch)
    assert drawn.dense().numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("images", "batch", "side"), [(26, 13, 3), (40, 2, 8), (1, 1, 33)])
def test_the_bias_gradient_is_that_of_a_weight_whose_input_is_1(images, batch, side, dtype):
    for filters in (1, 9, 40, 75):  # by itself, in one vector, in four
        drawn = Case(torch.ones(images, 1, side, side, dtype=dtype), filters, 1, 1, 0, batch)
        assert same_bits(drawn.of_bias(), drawn.dense().flatten())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("side", "images"), [*itertools.product(SIDES[:3], (1, 3, 13, 26)), (SIDES[3], 3)], ids=str)
def test_the_gradients_are_torchs_up_to_rounding_at_odd_sizes(side, images, dtype):
    for kernel, stride, (channels, filters) in itertools.product(
        (1, 3, 5), (1, 2), [(1, 33), (2, 17), (3, 10), (7, 1), (20, 17)]
    ):
        drawn = case(images, channels, *side, filters, kernel, stride, batch=1 if images == 3 else images, dtype=dtype)
        x, grad = drawn.x.double(), drawn.grad.double()
        exact = torch.nn.grad.conv2d_weight(x, drawn.shape, grad, stride, drawn.padding)
        terms = grad[0, 0].numel() * images
        tolerance = (16 + 4 * terms) * torch.finfo(dtype).eps  # torch's own sums round as well
        torch.testing.assert_close(drawn.dense().double(), exact, rtol=0, atol=tolerance)
        torch.testing.assert_close(drawn.of_bias().double(), grad.sum((0, 2, 3)), rtol=0, atol=tolerance)


@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (3, 20, 9, 9))),
    steps=st.integers(1, 9),
    filters=st.sampled_from([1, 7, 16, 17, 24, 33, 64, 65, 130]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
@settings(max_examples=60, deadline=None)
@example((30, 4, 9, 9), 3, 64, (3, 3), 1, 1, 0.5)  # several chunks in a block
@example((2, 3, 45, 47), 1, 20, (3, 3), 2, 1, 0.3)
@example((2, 3, 70, 67), 1, 20, (5, 3), 1, 2, 0.3)  # blocks of rows, the last one shorter
def test_spikes_alone_give_the_bits_of_the_dense_sum(sizes, steps, filters, kernel, stride, padding, density):
    batch, channels, *sides = sizes
    height, width = (max(n, k - 2 * padding) for n, k in zip(sides, kernel, strict=True))
    random = torch.Generator().manual_seed(0)
    x = (torch.rand(steps * batch, channels, height, width, generator=random) < density).float()
    drawn = Case(x, filters, kernel, stride, padding, batch)
    assert same_bits(drawn.sparse(), drawn.dense())


def test_the_number_of_threads_changes_no_bit():
    threads, found = torch.get_num_threads(), []
    spikes = Case((draw(40, 30, 9, 9) > 1).float(), 70, 3, 1, 1, 20)
    try:
        for number in (1, 2, 3, 64):
            torch.set_num_threads(number)
            found.append([*(f() for each in odd() for f in (each.dense, each.of_bias)), spikes.sparse()])
    finally:
        torch.set_num_threads(threads)
    assert all(same_bits(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_memory_at_odd_addresses_changes_no_bit(dtype):
    def moved(value):
        return value.new_empty(value.numel() + 1)[1:].view(value.shape).copy_(value)

    for drawn in odd(dtype):
        expected = drawn.dense(), drawn.of_bias()
        drawn.x = moved(drawn.x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        drawn.grad = moved(drawn.grad.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        assert same_bits(drawn.dense(), expected[0])
        assert same_bits(drawn.of_bias(), expected[1])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_value_is_written(dtype):
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        assert torch.empty(9).isnan().all()
        for drawn in odd(dtype):
            assert drawn.dense().isfinite().all()
            assert drawn.of_bias().isfinite().all()
        assert Case((draw(4, 3, 9, 9) > 1).float(), 70, 3, 1, 1, 2).sparse().isfinite().all()
    finally:
        torch.use_deterministic_algorithms(was)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_vectors_of_twice_the_width_change_no_bit(tmp_path_factory, monkeypatch, dtype):
    expected = [(drawn.dense(), drawn.of_bias()) for drawn in odd(dtype)]
    spikes = Case((draw(4, 3, 9, 9) > 1).float(), 70, 3, 1, 1, 2)
    lists, of_spikes = list_spikes(spikes.x, spikes.sizes, max_density=1.0), spikes.sparse()
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path_factory.getbasetemp() / "wide"))
    names = [f"{name}_gradient.cpp" for name in ("conv_weight", "linear_weight", "sparse_weight", "bias")]
    flags = [flag for flag in library.FLAGS if flag != "-O3"] + ["-O1", "-DVECTOR_BYTES=64"]  # quick to build
    wide = library._loaded([library.HERE / name for name in names], flags)
    monkeypatch.setattr(library, "_library", lambda: wide)
    for drawn, (of_weight, of_bias) in zip(odd(dtype), expected, strict=True):
        assert same_bits(drawn.dense(), of_weight)
        assert same_bits(drawn.of_bias(), of_bias)
    assert same_bits(sparse_weight_gradient(lists, spikes.grad, all_of(spikes.batch)), of_spikes)


def test_few_images_of_one_pixel_give_the_bits_of_the_general_kernel(monkeypatch):
    drawn = case(104, 50, 1, 1, 33, 1, batch=13)
    expected = drawn.dense()
    monkeypatch.setattr(conv_weight_gradient, "FEW_IMAGES", 0)
    assert same_bits(drawn.dense(), expected)


def test_a_zero_is_plus_zero():
    drawn = case(3, 20, 7, 5, 17, 3, batch=3)
    drawn.x = torch.zeros_like(drawn.x)
    drawn.grad = -drawn.grad.abs()
    assert not np.signbit(drawn.dense().numpy()).any()
    drawn.grad = torch.full_like(drawn.grad, -0.0)
    assert not np.signbit(drawn.of_bias().numpy()).any()


def test_sums_of_a_large_batch_keep_their_digits():
    # one chain over all 32,400 pixels would leave an error more than five times as large
    drawn = case(16, 2, 45, 45, 16, 3, batch=16)
    drawn.x, drawn.grad = drawn.x.abs(), drawn.grad.abs()
    exact = torch.nn.grad.conv2d_weight(drawn.x.double(), drawn.shape, drawn.grad.double(), padding=1)
    assert ((drawn.dense() - exact).abs() / exact).max() < 1e-6
