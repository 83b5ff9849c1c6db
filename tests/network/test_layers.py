import copy

import pytest
import torch
from torch import nn

from bpsta_cli.network.layers import AvgPool, Conv, Flatten, Linear, MaxPool, ReLU, Voting, is_constant
from bpsta_cli.network.norms import make_norm

T, B = 4, 3


def run(layers, x):
    """Output, gradients of the parameters and of the image, and buffers after one training pass."""
    layers = copy.deepcopy(layers).train()
    y = layers(x)
    torch.manual_seed(3)
    (y * torch.rand(y.shape, dtype=y.dtype)).sum().backward()
    gradients = {name: parameter.grad for name, parameter in layers.named_parameters()}
    return y, gradients, dict(layers.named_buffers())


@pytest.mark.parametrize("norm", ["per-step", "folded", "tdbn"])
def test_a_constant_input_seen_once_gives_what_it_gives_when_computed_at_each_step(norm):
    layers = nn.Sequential(
        Conv(2, 3, 3, padding=1),
        make_norm(norm, 3, threshold=0.7),
        ReLU(),
        MaxPool(2),
        Conv(3, 4, 3, padding=1),
        make_norm(norm, 4, threshold=0.7),
        AvgPool(2),
        Flatten(),
        Linear(16, 5),
    ).double()
    image = torch.randn(B, 2, 8, 8, dtype=torch.float64)
    held, copied = image.clone().requires_grad_(), image.clone().requires_grad_()
    y, gradients, buffers = run(layers, held.expand(T, *image.shape))
    y2, gradients2, buffers2 = run(layers, copied.repeat(T, 1, 1, 1, 1))
    assert is_constant(y)
    assert not is_constant(y2)
    tolerance = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(y, y2, **tolerance)
    torch.testing.assert_close(held.grad, copied.grad, **tolerance)
    torch.testing.assert_close(gradients, gradients2, **tolerance)
    torch.testing.assert_close(buffers, buffers2, **tolerance)
    assert not torch.allclose(buffers["1.running_mean"], torch.zeros(3, dtype=torch.float64))


@pytest.mark.parametrize("norm", ["per-step", "folded", "tdbn"])
def test_a_constant_input_changes_nothing_in_evaluation_either(norm):
    layers = nn.Sequential(Conv(2, 3, 3), make_norm(norm, 3, threshold=0.7), Flatten()).double().eval()
    layers[1].running_mean.uniform_()
    image = torch.randn(B, 2, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(layers(image.expand(T, *image.shape)), layers(image.repeat(T, 1, 1, 1, 1)))


def test_a_constant_input_is_computed_once():
    seen = []
    layer = Conv(1, 1, 1)
    layer.observers.append(lambda images, _: seen.append(images))
    layer(torch.rand(B, 1, 2, 2).expand(T, B, 1, 2, 2))
    layer(torch.rand(T, B, 1, 2, 2))
    assert seen == [B, T * B]


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Conv(2, 3, 3, padding=1), (2, 6, 6)),
        (MaxPool(2), (2, 6, 6)),
        (AvgPool(4), (2, 6, 6)),
        (ReLU(), (2, 3)),
        (Linear(5, 4), (5,)),
        (Flatten(), (2, 3, 3)),
    ],
)
def test_each_step_is_computed_by_itself_in_its_place(layer, shape):
    x = torch.randn(T, B, *shape)
    x = x.transpose(0, 1).contiguous().transpose(0, 1)  # as event frames come from the store: not contiguous
    plain = {Conv: nn.Conv2d, Linear: nn.Linear}.get(type(layer), type(layer).__mro__[1])
    for t in range(T):
        alone = x[t].flatten(1) if isinstance(layer, Flatten) else plain.forward(layer, x[t])
        torch.testing.assert_close(layer(x)[t], alone)


def test_votes_are_means_over_neighbouring_neurons():
    x = torch.tensor([[[1.0, 0, 1, 1, 0, 0]]]).expand(2, 1, 6)
    assert Voting(2)(x).tolist() == [[[0.5, 1.0, 0.0]]] * 2
    assert Voting(3)(x)[0, 0].tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize("size", [1, 2, 3, (4, 2)])
@pytest.mark.parametrize("last", [False, True])
def test_average_pooling_and_its_gradient_are_torchs(size, last):
    x = torch.randn(2, 3, 5, 7, 6, dtype=torch.float64)
    x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3) if last else x
    x.requires_grad_()
    found, expected = AvgPool(size)(x), torch.nn.functional.avg_pool2d(x.flatten(0, 1), size)
    torch.testing.assert_close(found.flatten(0, 1), expected)
    error = torch.randn(found.shape, dtype=torch.float64)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, error), torch.autograd.grad(expected, x, error.flatten(0, 1))
    )


def test_a_window_is_added_row_by_row():
    x = torch.tensor([1e8, 1.0, -1e8, 1.0]).view(1, 1, 1, 2, 2)  # in float32, 1e8 + 1 is 1e8
    assert AvgPool(2)(x).item() == 0.25
