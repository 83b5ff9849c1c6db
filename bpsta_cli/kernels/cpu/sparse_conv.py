"""Sparse convolution on the CPU: of images of zeros and ones, with work proportional to the number of ones.

README.md in the folder above says what sparse_conv.cpp computes and when it is the faster one; the gradients are in
sparse_conv_training.py.
"""

from __future__ import annotations

import ctypes
import math
from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.kernels.cpu.library import call, unsupported_reason

MAX_DENSITY = 0.25
"""Density (share of ones in its input) up to which "auto" takes the sparse convolution: it is as fast as the dense one
at 0.27 to 0.35, for 32 to 512 channels and 3 x 3 kernels. It, and the next three, were measured on an AVX-512 machine
(`docs/speed.md`)."""
SMALL_IMAGE_MAX_DENSITY = 0.5
"""The same for images of `SMALL_IMAGE` pixels or fewer with `MANY_CHANNELS` channels or more, where oneDNN is slower
(as fast at 0.6)."""
SMALL_IMAGE, MANY_CHANNELS = 16, 256
MIN_PRODUCTS = 128
"""Products of an output, over the input's pixels for each of the output's, below which there is nothing to gain."""
GROUPS = (16, 32, 64)
"""Filters whose sums are taken at once."""
MAX_ROW_VALUES = 1 << 16
"""Values in an image row that a place of 16 bits can tell apart."""


class Sizes(ctypes.Structure):
    """sparse_conv.hpp's Sizes."""

    _fields_ = tuple(
        (name, ctypes.c_int64)
        for name in (
            *("images", "height", "width", "channels", "filters", "kernel_height", "kernel_width"),
            *("stride", "padding", "out_height", "out_width"),
        )
    )


class PackedWeights:
    """Weights and bias of a convolution in the order in which sparse_conv.cpp reads them.

    Args:
        weight: [filters, channels, height, width].
        bias: [filters], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.group = _group(len(weight))
        missing = -len(weight) % self.group
        rows = F.pad(weight.detach().permute(0, 2, 3, 1).flatten(1), (0, 0, 0, missing))
        self.rows = rows.view(-1, self.group, rows.shape[1]).transpose(1, 2).contiguous()
        self.bias = rows.new_zeros(len(rows)) if bias is None else F.pad(bias.detach(), (0, missing))
        self._of = [(value.detach(), value._version) for value in (weight, bias) if value is not None]

    def are_of(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether these are still the weights: the same memory, to which autograd has seen nothing written."""
        values = [value for value in (weight, bias) if value is not None]
        return len(values) == len(self._of) and all(
            value.data_ptr() == kept.data_ptr() and value._version == version
            for value, (kept, version) in zip(values, self._of, strict=True)
        )


_packed: WeakKeyDictionary[nn.Conv2d, PackedWeights] = WeakKeyDictionary()


def convolve(layer: nn.Conv2d, x: Tensor, *, max_density: float | None = None) -> Tensor | None:
    """What `layer` gives for images `x` [N, C, H, W], where the kernel supports both and few values of `x` are ones.

    The layer's weights are packed once, and again when they change; a change through `.data` in place is not seen.

    Args:
        layer: the convolution.
        x: its input.
        max_density: density of `x` up to which it is computed; None for up to where it is faster: `MAX_DENSITY` or
            `SMALL_IMAGE_MAX_DENSITY`, lowered where the last group of filters is not full.

    Returns:
        As `sparse_forward`, without gradients; None for a higher density, for any value in `x` that is neither 0 nor
        1, and where the kernel does not support the layer or `x`.
    """
    weight, bias = layer.weight, layer.bias
    if not supports(layer, x) or (max_density is None and not is_profitable(layer)):
        return None
    weights = _packed.get(layer)
    if weights is None or not weights.are_of(weight, bias):
        weights = _packed[layer] = PackedWeights(weight, bias)
    spikes = list_spikes(layer, x, max_density=profitable_density(layer, x) if max_density is None else max_density)
    return None if spikes is None else sparse_forward(spikes, weights)


def profitable_density(layer: nn.Conv2d, x: Tensor) -> float:
    """Density up to which the sparse convolution is faster than the dense one."""
    small = x[0, 0].numel() <= SMALL_IMAGE and x.shape[1] >= MANY_CHANNELS
    return group_occupancy(layer.out_channels) * (SMALL_IMAGE_MAX_DENSITY if small else MAX_DENSITY)


def group_occupancy(filters: int) -> float:
    """Share of their groups that so many filters fill."""
    group = _group(filters)
    return filters / (math.ceil(filters / group) * group)


def _group(filters: int) -> int:
    return next((group for group in GROUPS if group >= filters), GROUPS[-1])


def is_profitable(layer: nn.Conv2d) -> bool:
    """Whether the layer has work enough that leaving some out saves time."""
    return layer.weight[0].numel() >= MIN_PRODUCTS * layer.stride[0] * layer.stride[1]


def supports(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether the kernel supports `layer` and images like `x` [N, C, H, W], whatever their values."""
    channels, height, width = x.shape[1:]
    return (
        x.dtype == layer.weight.dtype == torch.float32
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and all(len(set(pair)) == 1 for pair in (layer.stride, layer.padding))
        and set(layer.dilation) == {1}
        and channels == layer.in_channels
        and channels * width <= MAX_ROW_VALUES
        and channels * height * width < 1 << 31
        and not layer.weight.is_inference()  # whose changes cannot be seen
        and not unsupported_reason(x.device, x.dtype, None)
        and not torch.is_autocast_enabled(x.device.type)  # which asks for another dtype
    )


class SpikeList(NamedTuple):
    """The spikes of images of zeros and ones, and the convolution that they are listed for.

    Attributes:
        sizes: of the convolution, as sparse_conv.hpp has them.
        starts: where each pixel's spikes begin, int32 [N, H * W + 1].
        places: the spikes, uint16 [N, H * W * C + 8], of which only those counted in `starts` are written.
        density: share of ones among all values.
    """

    sizes: Sizes
    starts: Tensor
    places: Tensor
    density: float


def list_spikes(layer: nn.Conv2d, x: Tensor, *, max_density: float) -> SpikeList | None:
    """The spikes of `x`, for a layer and images that `supports` says yes to.

    That an input is made of spikes is not taken from where it comes: the pass that lists them sees every value.

    Args:
        layer: the convolution.
        x: float32 [N, C, H, W].
        max_density: density of `x` up to which they are listed.

    Returns:
        None for a higher density, or any value in `x` that is neither 0 nor 1.
    """
    x = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    images, height, width, channels = x.shape
    if not x.is_contiguous():  # torch takes some shapes with a length of 1 for channels last
        x = x.contiguous()
    starts = torch.empty(images, height * width + 1, dtype=torch.int32)
    places = torch.empty(images, height * width * channels + 8, dtype=torch.uint16)
    numbers = (images, height * width, width, channels, int(max_density * x.numel()))
    count = call("sparse_conv_list", x.dtype, x, *numbers, starts, places)
    if count < 0:
        return None
    stride, padding = layer.stride[0], layer.padding[0]
    assert isinstance(padding, int)
    kernel = layer.weight.shape[2:]
    out = ((side + 2 * padding - length) // stride + 1 for side, length in zip((height, width), kernel, strict=True))
    sizes = Sizes(images, height, width, channels, layer.out_channels, *kernel, stride, padding, *out)
    return SpikeList(sizes, starts, places, count / max(x.numel(), 1))


def sparse_forward(spikes: SpikeList, weights: PackedWeights) -> Tensor:
    """The convolution, equal to torch's but for the order in which it adds: [N, filters, H', W'], channels last."""
    sizes = spikes.sizes
    out = torch.empty(sizes.images, sizes.out_height, sizes.out_width, sizes.filters)
    arrays = (spikes.starts, spikes.places, weights.rows, weights.bias, out)
    call("sparse_conv_forward", out.dtype, sizes, weights.group, *arrays)
    return out.permute(0, 3, 1, 2)
