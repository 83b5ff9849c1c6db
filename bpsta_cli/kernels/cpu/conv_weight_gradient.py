"""The gradients of a convolution's weights and bias on the CPU, in one order of adding for dense and sparse inputs.

README.md in the folder above has the order of the sums, which conv_weight_gradient.cpp, sparse_weight_gradient.cpp and
bias_gradient.cpp follow. A linear layer is a convolution of images of one pixel with a kernel of one place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bpsta_cli.kernels.cpu.conv import Sizes, rows
from bpsta_cli.kernels.cpu.held import Held
from bpsta_cli.kernels.cpu.library import call
from bpsta_cli.kernels.cpu.sparse_conv import SpikeList

FEW_IMAGES = 1024
"""Images of one pixel up to which the kernel for linear layers is taken. It takes half of the general one's time, and
a share of so many is one block, as it needs."""


def weight_gradient(x: Tensor, grad: Tensor, sizes: Sizes, held: Held) -> Tensor:
    """Gradient of the weights: the sum over images and output pixels of the output's gradient times the input.

    Args:
        x: the convolution's input [N, C, H, W], float32 or float64.
        grad: the gradient of its output [N, filters, H', W'].
        sizes: of the convolution.
        held: the samples, and which shares of the sum are added; the images are steps of them, one after another.

    Returns:
        [filters, C, kernel height, kernel width].
    """
    kernel = (sizes.kernel_height, sizes.kernel_width)
    out = torch.empty(sizes.filters, sizes.channels, *kernel, dtype=grad.dtype)
    if (sizes.height, sizes.width, *kernel, sizes.padding) == (1, 1, 1, 1, 0) and 0 < sizes.images <= FEW_IMAGES:
        numbers = (sizes.images, held, sizes.channels, sizes.filters)
        call("linear_weight_gradient", grad.dtype, rows(x), rows(grad), *numbers, out)
    else:
        call("conv_weight_gradient", grad.dtype, sizes, held, rows(x), rows(grad), out)
    return out


def sparse_weight_gradient(spikes: SpikeList, grad: Tensor, held: Held) -> Tensor:
    """As `weight_gradient` for the images whose spikes are given, with the same bits: float32 alone."""
    sizes = spikes.sizes
    out = torch.empty(sizes.filters, sizes.channels, sizes.kernel_height, sizes.kernel_width)
    call("sparse_weight_gradient", out.dtype, sizes, held, spikes.starts, spikes.places, rows(grad), out)
    return out


def bias_gradient(grad: Tensor, held: Held) -> Tensor:
    """Gradient of the bias [filters]: the sum of the output's gradient [N, filters, H', W'] over images and pixels.

    `held` as in `weight_gradient`; the order is that of the weights' gradient.
    """
    images, filters, height, width = grad.shape
    out = torch.empty(filters, dtype=grad.dtype)
    call("bias_gradient", grad.dtype, rows(grad), filters, images, held, height, width, out)
    return out
