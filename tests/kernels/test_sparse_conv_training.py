"""The sparse gradients have the bits of the dense ones, each part by itself and all together."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpsta_cli import kernels
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import conv_weight_gradient, convolution, sparse_conv
from bpsta_cli.network.layers import Conv

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)


def spikes(*shape, density, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=random) < density).float()


def with_ones(density, *shape):
    """Images of which exactly so many values, rounded down, are 1."""
    x = torch.zeros(shape)
    x.flatten()[: int(density * x.numel())] = 1
    return x.requires_grad_()


def layer(channels, filters, kernel, **options):
    torch.manual_seed(1)
    return Conv(channels, filters, kernel, **options)


def gradients(y, x, conv):
    wanted = [x, *conv.parameters()]
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(y.dtype)
    return dict(zip(("x", *dict(conv.named_parameters())), torch.autograd.grad(y, wanted, grad), strict=True))


def convolved(conv, x, how="sparse", **options):
    return kernels.conv(conv, x, batch=len(x), convolution=how, **options).images


def same_bits(found, expected):
    return found.detach().numpy().tobytes() == expected.detach().numpy().tobytes()


def sparse_parts(monkeypatch, conv, x, how="auto", **options):
    """Which parts of a step were sparse."""
    made = []
    with monkeypatch.context() as patched:
        for module, name in (
            (sparse_conv, "forward"),
            (conv_weight_gradient, "sparse_weight_gradient"),
            (sparse_conv, "input_gradient"),
        ):
            function = getattr(module, name)
            patched.setattr(module, name, lambda *a, f=function, n=name: (made.append(n), f(*a))[1])
        convolved(conv, x, how, **options).sum().backward()
    return made


@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (3, 20, 9, 9))),
    filters=st.sampled_from([1, 7, 16, 17, 24, 33, 64, 65, 130]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    bias=st.booleans(),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    zero_gradient_without_spike=st.booleans(),
)
@settings(max_examples=60, deadline=None)
@example((2, 3, 7, 5), 70, (3, 3), 2, 1, True, 0.5, True)
@example((70, 4, 9, 9), 64, (3, 3), 1, 1, True, 0.5, True)  # more images than are gone through at once
def test_output_and_every_gradient_have_the_bits_of_the_dense_ones(
    sizes, filters, kernel, stride, padding, bias, density, zero_gradient_without_spike
):
    height, width = (max(n, k - 2 * padding) for n, k in zip(sizes[2:], kernel, strict=True))
    conv = layer(sizes[1], filters, kernel, stride=stride, padding=padding, bias=bias)
    x = spikes(*sizes[:2], height, width, density=density).requires_grad_()
    dense = convolved(conv, x, "dense")
    expected = gradients(dense, x, conv)
    found = convolved(conv, x, zero_gradient_without_spike=zero_gradient_without_spike)
    assert same_bits(found, dense)
    if zero_gradient_without_spike:
        expected["x"] = torch.where(x == 1, expected["x"], 0)
    for name, value in gradients(found, x, conv).items():
        assert same_bits(value, expected[name]), name


@pytest.mark.parametrize(
    ("channels", "filters", "side", "max_densities"),
    [
        (64, 64, 5, {"forward": 0.3, "sparse_weight_gradient": 0.25, "input_gradient": 0.2}),
        (
            64,
            96,
            5,
            {"forward": 0.3 * 0.75, "sparse_weight_gradient": 0.25 * 0.75, "input_gradient": 0.2},
        ),
        (63, 64, 5, {"forward": 0.3, "sparse_weight_gradient": 0.25, "input_gradient": 0.15}),
        (64, 32, 5, {"forward": 0.3, "sparse_weight_gradient": 0.25, "input_gradient": 0.15}),
        (16, 64, 5, {"forward": 0.3, "sparse_weight_gradient": 0.25, "input_gradient": 0.15}),
        (32, 32, 5, {"forward": 0.3, "sparse_weight_gradient": 0.25, "input_gradient": 0.15}),
        (31, 33, 5, {}),  # too few weights for each place of the kernel
        (14, 74, 5, {}),  # too few for each output
    ],
)
def test_auto_makes_each_part_sparse_up_to_a_density_of_its_own(monkeypatch, channels, filters, side, max_densities):
    conv = layer(channels, filters, 3, padding=1)
    for density in sorted({0.05, *max_densities.values()}):
        for x in (with_ones(density, 2, channels, side, side), with_ones(density + 1e-3, 2, channels, side, side)):
            found = x.detach().count_nonzero().item() / x.numel()
            expected = {name for name, most in max_densities.items() if found <= most}
            assert set(sparse_parts(monkeypatch, conv, x, zero_gradient_without_spike=True)) == expected


def test_the_inputs_gradient_is_whole_unless_nobody_asks_for_it_at_zeros(monkeypatch):
    conv, x = layer(64, 64, 3, padding=1), with_ones(0.1, 2, 64, 5, 5)
    assert sparse_parts(monkeypatch, conv, x) == ["forward", "sparse_weight_gradient"]
    assert (x.grad[x == 0] != 0).all()
    x.grad = None
    assert set(sparse_parts(monkeypatch, conv, x, zero_gradient_without_spike=True)) == {
        "forward",
        "sparse_weight_gradient",
        "input_gradient",
    }
    assert (x.grad[x == 0] == 0).all()
    assert (x.grad[x == 1] != 0).all()


@pytest.mark.parametrize("wanted", [("x",), ("weight",), ("bias",), ("weight", "bias"), ("x", "bias")])
@pytest.mark.parametrize("densities", [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_only_gradients_that_are_wanted_are_made_whichever_way(monkeypatch, wanted, densities):
    monkeypatch.setattr(convolution, "WEIGHT_MAX_DENSITY", densities[0])
    monkeypatch.setattr(convolution, "INPUT_MAX_DENSITY", densities[1])
    conv, x = layer(64, 64, 3), spikes(2, 64, 5, 5, density=0.1).requires_grad_()
    expected = gradients(convolved(conv, x, "dense"), x, conv)
    leaves = {"x": x, **dict(conv.named_parameters())}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    y = convolved(conv, x, "auto", zero_gradient_without_spike=True)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(3)))
    assert [name for name, leaf in leaves.items() if leaf.grad is not None] == list(wanted)
    if densities[1]:
        expected["x"] = torch.where(x == 1, expected["x"], 0)
    assert all(same_bits(leaves[name].grad, expected[name]) for name in wanted)


def test_the_lists_are_kept_in_the_inputs_place_where_they_do_for_the_gradients(monkeypatch):
    monkeypatch.setattr(convolution, "WEIGHT_MAX_DENSITY", 0.2)
    conv = layer(64, 64, 3)
    for density, kept in ((0.1, False), (0.22, True)):  # of which the weights' gradient is dense
        x, saved = with_ones(density, 2, 64, 5, 5), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            convolved(conv, x, "auto", zero_gradient_without_spike=True)
        assert any(tensor.shape == x.shape for tensor in saved) == kept


def test_the_number_of_threads_changes_no_bit():
    conv, x = layer(21, 70, 3, padding=1, stride=2), spikes(5, 21, 9, 9, density=0.2).requires_grad_()
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 64):
            torch.set_num_threads(number)
            found.append(gradients(convolved(conv, x, zero_gradient_without_spike=True), x, conv))
    finally:
        torch.set_num_threads(threads)
    for name, value in found[0].items():
        assert all(same_bits(value, other[name]) for other in found)
