"""The dense convolution on the CPU and the gradient of its input, for conv.cpp.

README.md in the folder above has the order of each sum. A linear layer is a convolution of images of one pixel with a
kernel of one place.
"""

from __future__ import annotations

import ctypes
import functools
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.kernels.cpu.library import call

SHARED_LANES = 8
"""Chains in which a value of the input's gradient is summed (conv_tile.hpp)."""


class Sizes(ctypes.Structure):
    """conv.hpp's Sizes."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "filters", "kernel_height", "kernel_width"),
            *("stride", "padding", "out_height", "out_width"),
        )
    )


def sizes_of(x: Tensor, weight: Tensor, stride: int, padding: int) -> Sizes:
    """Sizes of the convolution of images `x` [N, C, H, W] with `weight` [filters, C, kernel height, kernel width]."""
    images, channels, *sides = x.shape
    filters, _, *kernel = weight.shape
    out = ((side + 2 * padding - length) // stride + 1 for side, length in zip(sides, kernel, strict=True))
    return Sizes(images, *sides, channels, filters, *kernel, stride, padding, *out)


def forward(x: Tensor, sizes: Sizes, weights: PackedWeights) -> Tensor:
    """The convolution of `x` [N, C, H, W]: [N, filters, H', W'], channels last in memory."""
    out = x.new_empty(sizes.images, sizes.out_height, sizes.out_width, sizes.filters)
    call("conv_forward", x.dtype, sizes, rows(x), weights.rows, weights.bias, out)
    return out.permute(0, 3, 1, 2)


def input_gradient(grad: Tensor, sizes: Sizes, weight: Tensor) -> Tensor:
    """Gradient of the input [N, C, H, W], channels last in memory, for that of the output [N, filters, H', W']."""
    missing = -sizes.filters % SHARED_LANES
    filled = F.pad(rows(grad), (0, missing)) if missing else rows(grad)
    out = grad.new_empty(sizes.images, sizes.height, sizes.width, sizes.channels)
    call("conv_input_gradient", grad.dtype, sizes, filled.shape[-1], filled, packed_channels(weight, sizes), out)
    return out.permute(0, 3, 1, 2)


def rows(images: Tensor) -> Tensor:
    """Images [N, C, H, W] as [N, H, W, C] without gaps, so that the channels of a pixel are next to each other."""
    return images.detach().permute(0, 2, 3, 1).contiguous()


class PackedWeights:
    """Weights and bias of a convolution in the order in which conv.cpp and sparse_conv.cpp read them.

    Args:
        weight: [filters, channels, height, width].
        bias: [filters], or None.
        group: filters whose weights lie together; None for as many as conv.cpp takes.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, group: int | None = None) -> None:
        self.group = filters_in_group(weight.dtype) if group is None else group
        filters, channels, height, width = weight.shape
        missing = -filters % self.group
        self.rows = _room((filters + missing) * height * width * channels, weight, zeros=missing > 0)
        sizes = Sizes(0, 0, 0, channels, filters, height, width)
        call("conv_pack_filters", weight.dtype, sizes, self.group, weight.detach().contiguous(), self.rows)
        self.bias = weight.new_zeros(filters + missing)
        if bias is not None:
            self.bias[:filters] = bias.detach()


def packed_channels(weight: Tensor, sizes: Sizes) -> Tensor:
    """The weights [filters, channels, height, width] in the order in which the input's gradient reads them."""
    group = channels_in_group(weight.dtype)
    channels, filters = sizes.channels + -sizes.channels % group, sizes.filters + -sizes.filters % SHARED_LANES
    size = channels * filters * sizes.kernel_height * sizes.kernel_width
    packed = _room(size, weight, zeros=channels > sizes.channels)
    call("conv_pack_channels", weight.dtype, sizes, group, weight.detach().contiguous(), packed)
    return packed


def _room(size: int, like: Tensor, *, zeros: bool) -> Tensor:
    return like.new_zeros(size) if zeros else like.new_empty(size)


@functools.cache
def filters_in_group(dtype: torch.dtype) -> int:
    """Filters whose weights lie together for conv.cpp."""
    return call("conv_filters_in_group", dtype)


@functools.cache
def channels_in_group(dtype: torch.dtype) -> int:
    """The same of the input's channels for its gradient."""
    return call("conv_channels_in_group", dtype)


_packed: WeakKeyDictionary[nn.Module, dict[int, tuple[PackedWeights, list[tuple[Tensor, int]]]]] = WeakKeyDictionary()


def packed_once(layer: nn.Module, weight: Tensor, bias: Tensor | None, group: int) -> PackedWeights:
    """The packed weights of `layer`, kept until their memory or autograd's count of changes is another.

    A change through `.data` in place is not seen. Weights made in inference mode have no such count, and are packed
    each time.
    """
    values = [value for value in (weight, bias) if value is not None]
    if any(value.is_inference() for value in values):
        return PackedWeights(weight, bias, group)
    of_layer = _packed.setdefault(layer, {})
    if group in of_layer:
        weights, versions = of_layer[group]
        if len(versions) == len(values) and all(
            value.data_ptr() == kept.data_ptr() and value._version == version
            for value, (kept, version) in zip(values, versions, strict=True)
        ):
            return weights
    weights = PackedWeights(weight, bias, group)
    # the values are kept too, so that no other weights get their memory
    of_layer[group] = weights, [(value.detach(), value._version) for value in values]
    return weights
