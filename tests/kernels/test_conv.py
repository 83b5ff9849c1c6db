"""The dense convolution and linear layer are held to the definition of their sums, bit for bit, and to torch's own."""

import itertools
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conv_definition import forward, input_gradient

from bpsta_cli import kernels
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import conv, conv_weight_gradient, library
from bpsta_cli.network.layers import Conv, Linear

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)

DTYPES = {np.float32: torch.float32, np.float64: torch.float64}
ODD = [  # images, channels, height, width, filters, kernel, stride, padding
    (1, 1, 1, 1, 1, 1, 1, 0),
    (3, 2, 2, 3, 10, 3, 1, 1),
    (13, 7, 7, 5, 17, 3, 2, 1),
    (3, 20, 7, 5, 33, 5, 1, 2),
    (2, 3, 7, 5, 10, 5, 2, 2),
    (1, 2, 9, 8, 70, 3, 3, 4),  # output pixels that see padding alone
    (13, 3, 2, 3, 1, 1, 2, 0),  # input pixels that no output sees
    (3, 300, 4, 3, 17, 3, 1, 1),  # terms in several blocks
    (1, 5, 130, 97, 33, 3, 1, 1),  # several strips
]


def draw(*shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def layer_and_input(images, channels, height, width, filters, kernel, stride, padding, dtype=torch.float32):
    layer = Conv(channels, filters, kernel, stride=stride, padding=padding, dtype=dtype)
    with torch.no_grad():
        for seed, parameter in enumerate(layer.parameters(), 1):
            parameter.copy_(draw(*parameter.shape, seed=seed))
    return layer, draw(images, channels, height, width, dtype=dtype).requires_grad_()


def step(layer, x, *, batch=1):
    """The output, and the gradients of the input, the weights and the bias."""
    y = kernels.conv(layer, x, batch=batch, convolution="dense").images
    return y, *torch.autograd.grad(y, [x, *layer.parameters()], draw(*y.shape, dtype=x.dtype, seed=9))


def same_bits(found, expected):
    return all(
        torch.equal(a.detach().contiguous().view(torch.int32), b.detach().contiguous().view(torch.int32))
        for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("real", DTYPES)
@pytest.mark.parametrize(
    "sizes", [(1, 2, 2, 3, 10, 3, 1, 1), (2, 3, 3, 4, 2, 3, 2, 1), (2, 9, 1, 1, 19, 1, 1, 0), (1, 2, 3, 3, 9, 2, 1, 2)]
)
def test_output_and_inputs_gradient_have_the_bits_of_the_definition(real, sizes):
    stride, padding = sizes[-2:]
    layer, x = layer_and_input(*sizes, dtype=DTYPES[real])
    y, of_x, *_ = step(layer, x)
    weight, bias = (parameter.detach().numpy() for parameter in layer.parameters())
    expected = forward(x.detach().numpy(), weight, bias, stride, padding)
    assert y.detach().numpy().tobytes() == expected.tobytes()
    grad = draw(*y.shape, dtype=x.dtype, seed=9).numpy()
    assert of_x.numpy().tobytes() == input_gradient(grad, weight, x.shape, stride, padding).tobytes()


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("sizes", ODD)
def test_output_and_gradients_are_torchs_up_to_rounding_at_odd_sizes(sizes, dtype):
    layer, x = layer_and_input(*sizes, dtype=dtype)
    leaves = [value.detach().double().requires_grad_() for value in (x, *layer.parameters())]
    exact = F.conv2d(*leaves, layer.stride, layer.padding)
    expected = (exact, *torch.autograd.grad(exact, leaves, draw(*exact.shape, dtype=dtype, seed=9).double()))
    for found, value in zip(step(layer, x), expected, strict=True):
        assert found.dtype == dtype
        scale = value.detach().abs().max()
        torch.testing.assert_close(
            found.double() / scale, value / scale, rtol=0, atol=8 * torch.finfo(dtype).eps ** 0.95
        )


@pytest.mark.parametrize("inputs", [1, 7, 300])
@pytest.mark.parametrize("outputs", [1, 10, 33])
@pytest.mark.parametrize("rows", [1, 3, 13])
def test_a_linear_layer_is_torchs_up_to_rounding(inputs, outputs, rows):
    layer, x = Linear(inputs, outputs), draw(rows, inputs).requires_grad_()
    y = kernels.linear(layer, x, batch=rows)
    leaves = [value.detach().double().requires_grad_() for value in (x, *layer.parameters())]
    exact = F.linear(*leaves)
    grad = draw(rows, outputs, seed=3)
    torch.testing.assert_close(y.double(), exact, rtol=1e-5, atol=2e-5)
    for found, value in zip(
        torch.autograd.grad(y, [x, *layer.parameters()], grad),
        torch.autograd.grad(exact, leaves, grad.double()),
        strict=True,
    ):
        torch.testing.assert_close(found.double(), value, rtol=1e-5, atol=2e-5)


def test_gradients_equal_finite_differences():
    layer, x = layer_and_input(2, 3, 4, 3, 5, 3, 2, 1, dtype=torch.float64)

    def convolved(x, weight, bias):
        other = Conv(3, 5, 3, stride=2, padding=1, dtype=torch.float64)
        del other.weight, other.bias
        other.weight, other.bias = weight, bias
        return kernels.conv(other, x, batch=2).images

    assert torch.autograd.gradcheck(convolved, (x, *layer.parameters()), fast_mode=True)


@pytest.mark.parametrize("sizes", ODD)
def test_the_number_of_threads_changes_no_bit(sizes):
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 64):
            torch.set_num_threads(number)
            found.append(step(*layer_and_input(*sizes)))
    finally:
        torch.set_num_threads(threads)
    assert all(same_bits(other, found[0]) for other in found)


@pytest.mark.parametrize("sizes", ODD)
def test_memory_at_odd_addresses_changes_no_bit(sizes):
    def moved(value):
        room = value.new_empty(value.numel() + 1)[1:].view(value.shape)
        return torch.nn.Parameter(room.copy_(value.detach()))

    layer, x = layer_and_input(*sizes)
    expected = step(layer, x)
    layer.weight, layer.bias = moved(layer.weight), moved(layer.bias)
    assert same_bits(step(layer, moved(x.detach())), expected)


@pytest.mark.parametrize("sizes", ODD)
def test_every_value_of_the_output_and_of_the_inputs_gradient_is_written(sizes, monkeypatch):
    layer, x = layer_and_input(*sizes)
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda like, *shape: like.new_full(shape, float("nan")))
    assert not any(value.isnan().any() for value in step(layer, x)[:2])


BITS = """
import pickle, sys
from test_conv import ODD, layer_and_input, library, step
library.SOURCES = [path for path in library.SOURCES if not path.name.startswith(("block", "lif", "norm"))]
library.FLAGS = tuple("-O0" if flag == "-O3" else flag for flag in library.FLAGS)  # quick to build
found = [[value.detach().numpy() for value in step(*layer_and_input(*sizes))] for sizes in ODD[1:8]]
sys.stdout.buffer.write(pickle.dumps((library.isa(), found)))
"""


def test_vectors_of_twice_the_width_change_no_bit(tmp_path, monkeypatch):
    monkeypatch.setenv("BPSTA_CPU_ISA", "wide-emulated")
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", BITS],
        capture_output=True,
        cwd=str(library.HERE.parents[2] / "tests" / "kernels"),
        check=True,
    )
    isa, found = pickle.loads(done.stdout)
    assert isa == "wide-emulated"
    assert all(
        same_bits(map(torch.from_numpy, values), step(*layer_and_input(*sizes)))
        for values, sizes in zip(found, ODD[1:8], strict=True)
    )


def test_a_zero_is_plus_zero_whatever_the_sign_of_the_bias_and_of_the_products():
    layer, x = layer_and_input(1, 2, 3, 3, 2, 3, 1, 1)
    with torch.no_grad():
        layer.bias.fill_(-0.0)
    y = step(layer, torch.zeros_like(x).requires_grad_())[0]
    assert not y.signbit().any()
    with torch.no_grad():
        layer.weight.mul_(-0.0)
    assert not step(layer, x)[1].signbit().any()


@pytest.mark.parametrize(
    "options",
    [
        {"groups": 2},
        {"dilation": 2},
        {"stride": (1, 2)},
        {"padding": (1, 0)},
        {"padding": "same"},
        {"padding": 1, "padding_mode": "circular"},
    ],
    ids=str,
)
def test_other_convolutions_are_torchs_own(options):
    layer, x = Conv(4, 4, 3, **options), draw(2, 4, 6, 6)
    assert torch.equal(kernels.conv(layer, x, batch=2).images, torch.nn.Conv2d.forward(layer, x))


def test_so_are_those_under_autocast_and_their_dtype_is_the_one_asked_for():
    layer, x = Conv(4, 4, 3), draw(2, 4, 6, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert kernels.conv(layer, x, batch=2).images.dtype == torch.bfloat16
        assert kernels.linear(Linear(4, 2), draw(3, 4), batch=3).dtype == torch.bfloat16


@pytest.mark.parametrize("shape", [(2, 3, 6, 6), (2, 4, 2, 6), (4, 6)], ids=str)
def test_an_input_that_does_not_fit_is_refused_with_torchs_own_words(shape):
    with pytest.raises(RuntimeError):
        kernels.conv(Conv(4, 4, 3), draw(*shape), batch=2)


def test_no_images_give_no_outputs():
    assert kernels.conv(Conv(4, 5, 3), draw(0, 4, 6, 6), batch=0).images.shape == (0, 5, 4, 4)


@pytest.mark.parametrize("view", [(0, 1, 3, 2), (0, 1, 2, 3), (1, 0, 2, 3)], ids=["transposed", "planes", "swapped"])
def test_an_input_of_any_strides_is_convolved(view):
    x = draw(5, 5, 7, 7).permute(view)
    layer, _ = layer_and_input(1, 5, 7, 7, 3, 3, 1, 1)
    assert same_bits(step(layer, x[::2].requires_grad_()), step(layer, x[::2].contiguous().requires_grad_()))


def test_new_weights_are_seen_without_gradients_too():
    layer, x = layer_and_input(2, 5, 6, 6, 6, 3, 1, 1)

    def output():
        with torch.no_grad():
            return kernels.conv(layer, x, batch=2, convolution="dense").images

    def is_new():
        return same_bits([output()], [step(layer, x)[0]])

    assert is_new()
    kept = conv._packed[layer][conv.filters_in_group(torch.float32)][0]
    output()
    assert conv._packed[layer][conv.filters_in_group(torch.float32)][0] is kept
    for change in (
        lambda: layer.weight.mul_(2),
        lambda: layer.bias.add_(1),
        lambda: layer.load_state_dict(Conv(5, 6, 3, padding=1).state_dict()),
        lambda: setattr(layer.weight, "data", draw(6, 5, 3, 3, seed=5)),
    ):
        with torch.no_grad():
            change()
        assert is_new()


@pytest.mark.parametrize("wanted", [*itertools.combinations(("x", "weight", "bias"), 1), ("x", "bias")])
def test_only_gradients_that_are_wanted_are_made(wanted, monkeypatch):
    made = []
    for module, name in (
        (conv, "input_gradient"),
        (conv_weight_gradient, "weight_gradient"),
        (conv_weight_gradient, "bias_gradient"),
    ):
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, f=function, n=name: (made.append(n), f(*a))[1])
    layer, x = layer_and_input(2, 5, 6, 6, 6, 3, 1, 1)
    leaves = {"x": x, "weight": layer.weight, "bias": layer.bias}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    kernels.conv(layer, x, batch=2).images.sum().backward()
    assert [name for name, leaf in leaves.items() if leaf.grad is not None] == list(wanted)
    assert made == [{"x": "input_gradient"}.get(name, f"{name}_gradient") for name in wanted]


def test_weights_that_were_changed_before_the_backward_pass_are_refused():
    layer, x = layer_and_input(1, 4, 6, 6, 4, 3, 1, 1)
    y = kernels.conv(layer, x, batch=1).images
    with torch.no_grad():
        layer.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
