"""The gradients over events are held to torch's own, each part by itself and all together."""

import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import sparse_conv, sparse_conv_training
from bpsta_cli.network.layers import Conv

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)


def spikes(*shape, density, seed=0):
    random = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=random) < density).float()


def with_ones(share, *shape):
    """Images of which exactly so many values, rounded down, are 1."""
    x = torch.zeros(shape)
    x.flatten()[: int(share * x.numel())] = 1
    return x.requires_grad_()


def layer(channels, filters, kernel, **options):
    torch.manual_seed(1)
    return Conv(channels, filters, kernel, **options)


def gradients(y, x, conv):
    wanted = [x, *conv.parameters()]
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(3)).to(y.dtype)
    return dict(zip(("x", *dict(conv.named_parameters())), torch.autograd.grad(y, wanted, grad), strict=True))


def expected_of(conv, x):
    """torch's own output and gradients, in float64."""
    exact, x = copy.deepcopy(conv).double(), x.detach().double().requires_grad_()
    y = F.conv2d(x, exact.weight, exact.bias, exact.stride, exact.padding)
    return y, gradients(y, x, exact)


def parts_over_events(monkeypatch, conv, x, **options):
    """Which parts of a step were computed over events."""
    made = []
    with monkeypatch.context() as patched:
        for module, name in (
            (sparse_conv, "summed"),
            (sparse_conv_training, "_of_weights"),
            (sparse_conv_training, "_of_input"),
        ):
            function = getattr(module, name)
            patched.setattr(module, name, lambda *a, f=function, n=name: (made.append(n), f(*a))[1])
        y = sparse_conv_training.serve(conv, x, **options)
        if y is not None:
            y.sum().backward()
    return made


@given(
    sizes=st.tuples(*(st.integers(1, most) for most in (3, 20, 9, 9))),
    filters=st.sampled_from([1, 7, 16, 17, 24, 33, 64, 65, 130]),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    bias=st.booleans(),
    density=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
    silent=st.booleans(),
)
@settings(max_examples=60, deadline=None)
@example((2, 3, 7, 5), 70, (3, 3), 2, 1, True, 0.5, True)
@example((70, 4, 9, 9), 64, (3, 3), 1, 1, True, 0.5, True)  # more images than are gone through at once
def test_output_and_every_gradient_equal_torchs_up_to_rounding(
    sizes, filters, kernel, stride, padding, bias, density, silent
):
    height, width = (max(n, k - 2 * padding) for n, k in zip(sizes[2:], kernel, strict=True))
    conv = layer(sizes[1], filters, kernel, stride=stride, padding=padding, bias=bias)
    x = spikes(*sizes[:2], height, width, density=density).requires_grad_()
    y, expected = expected_of(conv, x)
    found = sparse_conv_training.serve(conv, x, limit=1.0, silent=silent)
    torch.testing.assert_close(found.double(), y, rtol=1e-5, atol=1e-5)
    if silent:
        expected["x"] = expected["x"] * x.detach()
    for name, value in gradients(found, x, conv).items():
        assert value.shape == expected[name].shape
        torch.testing.assert_close(value.double(), expected[name], rtol=2e-5, atol=2e-5 * float(y.numel() ** 0.5))


def test_the_gradient_of_a_large_batch_keeps_its_digits():
    # in one float after another the 16,000 terms of each sum would leave an error five times as large
    conv, x = layer(2, 16, 3, padding=1), spikes(16, 2, 45, 45, density=0.5)
    y = sparse_conv_training.serve(conv, x, limit=1.0)
    grad = torch.rand(y.shape, generator=torch.Generator().manual_seed(2))
    exact = torch.nn.grad.conv2d_weight(x.double(), conv.weight.shape, grad.double(), padding=1)
    found = torch.autograd.grad(y, conv.weight, grad)[0]
    assert ((found - exact).abs() / exact).max() < 1e-6


@pytest.mark.parametrize(
    ("channels", "filters", "side", "limits"),
    [
        (64, 64, 5, {"summed": 0.25, "_of_weights": 0.2, "_of_input": 0.15}),
        (64, 96, 5, {"summed": 0.25 * 0.75, "_of_weights": 0.2 * 0.75, "_of_input": 0.15}),
        (256, 64, 4, {"summed": 0.5, "_of_weights": 0.2, "_of_input": 0.15}),
        (63, 64, 5, {"summed": 0.25, "_of_weights": 0.1, "_of_input": 0.1}),
        (64, 32, 5, {"summed": 0.25, "_of_weights": 0.1, "_of_input": 0.1}),
        (16, 64, 5, {"summed": 0.25, "_of_weights": 0.1, "_of_input": 0.1}),
        (32, 32, 5, {"summed": 0.25, "_of_weights": 0.1, "_of_input": 0.1}),
        (31, 33, 5, {}),  # too few weights for each place of the kernel
        (14, 74, 5, {}),  # too few for each output
    ],
)
def test_auto_takes_each_part_over_events_up_to_a_share_of_ones_of_its_own(
    monkeypatch, channels, filters, side, limits
):
    conv = layer(channels, filters, 3, padding=1)
    for share in sorted({0.05, *limits.values()}):
        for x in (with_ones(share, 2, channels, side, side), with_ones(share + 1e-3, 2, channels, side, side)):
            seen = x.detach().count_nonzero().item() / x.numel()
            expected = {name for name, limit in limits.items() if seen <= limit}
            assert set(parts_over_events(monkeypatch, conv, x, silent=True)) == expected


def test_the_inputs_gradient_is_whole_unless_nobody_asks_for_it_at_zeros(monkeypatch):
    conv, x = layer(64, 64, 3, padding=1), with_ones(0.1, 2, 64, 5, 5)
    assert parts_over_events(monkeypatch, conv, x) == ["summed", "_of_weights"]
    assert (x.grad[x == 0] != 0).all()
    x.grad = None
    assert set(parts_over_events(monkeypatch, conv, x, silent=True)) == {"summed", "_of_weights", "_of_input"}
    assert (x.grad[x == 0] == 0).all()
    assert (x.grad[x == 1] != 0).all()


@pytest.mark.parametrize("wanted", [("x",), ("weight",), ("bias",), ("weight", "bias"), ("x", "bias")])
@pytest.mark.parametrize("limits", [(1.0, 1.0), (0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
def test_only_gradients_that_are_wanted_are_made_whichever_way(monkeypatch, wanted, limits):
    monkeypatch.setattr(sparse_conv_training, "WEIGHTS_LIMIT", limits[0])
    monkeypatch.setattr(sparse_conv_training, "INPUT_LIMIT", limits[1])
    conv, x = layer(64, 64, 3), spikes(2, 64, 5, 5, density=0.1)
    _, expected = expected_of(conv, x)
    expected["x"] *= x if limits[1] else 1
    leaves = {"x": x, **dict(conv.named_parameters())}
    for name, leaf in leaves.items():
        leaf.requires_grad_(name in wanted)
    y = sparse_conv_training.serve(conv, x, silent=True)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(3)))
    assert [name for name, leaf in leaves.items() if leaf.grad is not None] == list(wanted)
    for name in wanted:
        torch.testing.assert_close(leaves[name].grad.double(), expected[name], rtol=1e-4, atol=1e-4)


def test_the_lists_are_kept_in_the_inputs_place_where_they_do_for_the_gradients():
    conv = layer(64, 64, 3)
    for share, kept in ((0.1, False), (0.22, True)):  # of which the weights' gradient is dense
        x, saved = with_ones(share, 2, 64, 5, 5), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, saved=saved: saved.append(t) or t, lambda t: t):
            sparse_conv_training.serve(conv, x, silent=True)
        assert any(tensor.shape == x.shape for tensor in saved) == kept


def test_the_number_of_threads_changes_no_bit():
    conv, x = layer(21, 70, 3, padding=1, stride=2), spikes(5, 21, 9, 9, density=0.2).requires_grad_()
    threads, found = torch.get_num_threads(), []
    try:
        for number in (1, 2, 3, 64):
            torch.set_num_threads(number)
            found.append(gradients(sparse_conv_training.serve(conv, x, limit=1.0, silent=True), x, conv))
    finally:
        torch.set_num_threads(threads)
    for name, value in found[0].items():
        assert all(torch.equal(value, other[name]) for other in found)


def test_weights_that_were_changed_before_the_backward_pass_are_refused():
    conv, x = layer(4, 4, 3), spikes(1, 4, 6, 6, density=0.1).requires_grad_()
    y = sparse_conv_training.serve(conv, x, limit=1.0)
    with torch.no_grad():
        conv.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_what_is_not_spikes_and_what_autocast_is_for_are_left_to_torch():
    conv, x = layer(64, 64, 3), spikes(1, 64, 6, 6, density=0.1)
    assert sparse_conv_training.serve(conv, x, silent=True) is not None
    assert sparse_conv_training.serve(conv, 2 * x, limit=1.0) is None
    assert sparse_conv_training.serve(conv.double(), x.double(), limit=1.0) is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert sparse_conv_training.serve(conv.float(), x, limit=1.0) is None
