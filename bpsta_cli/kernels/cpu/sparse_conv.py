"""Sparse convolution on the CPU: of images of zeros and ones, with work proportional to the number of ones.

README.md in the folder above says what sparse_conv.cpp and sparse_conv_backward.cpp compute: the values of the dense
convolution, bit for bit. When it is the faster one, convolution.py says.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli.kernels.cpu.conv import PackedWeights, Sizes, rows
from bpsta_cli.kernels.cpu.library import call

GROUPS = (16, 32, 64)
"""Filters whose sums are taken at once."""
MAX_ROW_VALUES = 1 << 16
"""Values in an image row that a place of 16 bits can tell apart."""


def filters_in_group(filters: int) -> int:
    """How many of so many filters are summed at once."""
    return next((group for group in GROUPS if group >= filters), GROUPS[-1])


def group_occupancy(filters: int) -> float:
    """Share of their groups that so many filters fill."""
    group = filters_in_group(filters)
    return filters / (math.ceil(filters / group) * group)


def supports(x: Tensor) -> bool:
    """Whether images like `x` [N, C, H, W] can be listed, whatever their values."""
    channels, height, width = x.shape[1:]
    return x.dtype == torch.float32 and channels * width <= MAX_ROW_VALUES and channels * height * width < 1 << 31


class SpikeList(NamedTuple):
    """The spikes of images of zeros and ones, and the convolution that they are listed for.

    Attributes:
        sizes: of the convolution.
        starts: where each pixel's spikes begin, int32 [N, H * W + 1].
        places: the spikes, uint16 [N, H * W * C + 8], of which only those counted in `starts` are written.
        density: share of ones among all values.
    """

    sizes: Sizes
    starts: Tensor
    places: Tensor
    density: float


def list_spikes(x: Tensor, sizes: Sizes, *, max_density: float) -> SpikeList | None:
    """The spikes of images that `supports` says yes to.

    That an input is made of spikes is not taken from where it comes: the pass that lists them sees every value.

    Args:
        x: float32 [N, C, H, W].
        sizes: of the convolution.
        max_density: density of `x` up to which they are listed.

    Returns:
        None for a higher density, or any value in `x` that is neither 0 nor 1.
    """
    images, pixels = sizes.images, sizes.height * sizes.width
    starts = torch.empty(images, pixels + 1, dtype=torch.int32)
    places = torch.empty(images, pixels * sizes.channels + 8, dtype=torch.uint16)
    numbers = (images, pixels, sizes.width, sizes.channels, int(max_density * x.numel()))
    count = call("sparse_conv_list", x.dtype, rows(x), *numbers, starts, places)
    return None if count < 0 else SpikeList(sizes, starts, places, count / max(x.numel(), 1))


def forward(spikes: SpikeList, weights: PackedWeights) -> Tensor:
    """The convolution [N, filters, H', W'], channels last in memory; `weights` in groups of `filters_in_group`."""
    sizes = spikes.sizes
    out = torch.empty(sizes.images, sizes.out_height, sizes.out_width, sizes.filters)
    arrays = (spikes.starts, spikes.places, weights.rows, weights.bias, out)
    call("sparse_conv_forward", out.dtype, sizes, weights.group, *arrays)
    return out.permute(0, 3, 1, 2)


def input_gradient(spikes: SpikeList, grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the input [N, C, H, W] where that is 1, and 0 elsewhere; `grad` is that of the output."""
    sizes = spikes.sizes
    out = torch.zeros(sizes.images, sizes.height, sizes.width, sizes.channels)
    weights = weight.detach().permute(2, 3, 1, 0).contiguous()
    call("sparse_conv_input_gradient", out.dtype, sizes, spikes.starts, spikes.places, rows(grad), weights, out)
    return out.permute(0, 3, 1, 2)
