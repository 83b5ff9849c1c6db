"""A convolution or a linear layer: by the compiled kernels where they support it, else torch's own."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from bpsta_cli.kernels import operators
from bpsta_cli.kernels.capture import captured
from bpsta_cli.kernels.cpu import convolution as cpu_convolution


class ConvOutput(NamedTuple):
    """What a convolution gives.

    Attributes:
        images: [N, filters, H', W'], channels last in memory where a kernel computed it.
        sparse: whether the products by 0 were left out; False where the network is looked at without running it.
    """

    images: Tensor
    sparse: bool


def conv(
    layer: nn.Conv2d,
    x: Tensor,
    *,
    batch: int,
    convolution: str = "auto",
    zero_gradient_without_spike: bool = False,
) -> ConvOutput:
    """The convolution `layer` of images `x` [N, C, H, W], in one order of adding on every machine with the kernels.

    Dense and sparse give the same bits. Where the kernels do not support the layer, the input or the machine, it is
    torch's own.

    Args:
        layer: the convolution.
        x: its input.
        batch: samples; the N images are N / batch steps of them, one step after another.
        convolution: "dense" computes every product; "sparse" leaves out those with 0 where all inputs are 0 or 1;
            "auto" does so where it is faster, for each part of the forward and the backward pass by itself.
        zero_gradient_without_spike: whether the gradient of `x` comes to nothing where `x` is 0, and may be left out
            there, as 0.
    """
    operation = cpu_convolution.operation_of(layer)
    if operation is None or not cpu_convolution.supports(operation, x):
        return ConvOutput(nn.Conv2d.forward(layer, x), False)
    max_density = {"dense": 0.0, "sparse": 1.0}.get(convolution)
    if captured(x):
        return ConvOutput(operators.convolve(operation, x, batch, max_density, zero_gradient_without_spike), False)
    return ConvOutput(
        *cpu_convolution.convolve(
            layer,
            operation,
            x,
            batch=batch,
            max_density=max_density,
            zero_gradient_without_spike=zero_gradient_without_spike,
        )
    )


def linear(layer: nn.Linear, x: Tensor, *, batch: int) -> Tensor:
    """The linear `layer` of `x` [N, inputs], as a convolution of images of one pixel: [N, outputs].

    `batch` and what is not supported are as in `conv`.
    """
    operation = cpu_convolution.operation_of(layer)
    assert operation is not None
    images = x[:, :, None, None] if x.dim() == 2 else x
    if not cpu_convolution.supports(operation, images):
        return nn.Linear.forward(layer, x)
    if captured(x):
        return operators.convolve(operation, images, batch, 0.0, False)[:, :, 0, 0]
    return cpu_convolution.convolve(layer, operation, images, batch=batch, max_density=0.0).images[:, :, 0, 0]
