"""Convolution of spikes as a sum over events, on the CPU: the work is proportional to their number.

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

from bpsta_cli.kernels.cpu.library import entry, refusal

LIMIT = 0.25
"""Share of ones in its input up to which "auto" takes the sum over events: the two break even at 0.27 to 0.35 for 32 to
512 channels and 3 x 3 kernels. It, and the next three, were measured on an AVX-512 machine (`docs/speed.md`)."""
SMALL_LIMIT = 0.5
"""The same for images of `SMALL` pixels or fewer and from `DEEP` channels on, where oneDNN is slower (0.6)."""
SMALL, DEEP = 16, 256
FEWEST = 128
"""Products an output takes, over the input's pixels for each of its own, below which there is nothing to gain."""
BLOCKS = (16, 32, 64)
"""Filters whose sums are taken at once."""
PLACES = 1 << 16
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


class Weights:
    """Weights and bias of a convolution in the order in which events need them.

    Args:
        weight: [filters, channels, height, width].
        bias: [filters], or None.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.filters, self.kernel = len(weight), weight.shape[2:]
        self.block = _block(self.filters)
        missing = -self.filters % self.block
        rows = F.pad(weight.detach().permute(0, 2, 3, 1).flatten(1), (0, 0, 0, missing))
        self.rows = rows.view(-1, self.block, rows.shape[1]).transpose(1, 2).contiguous()
        self.bias = rows.new_zeros(len(rows)) if bias is None else F.pad(bias.detach(), (0, missing))
        self._of = [(value.detach(), value._version) for value in (weight, bias) if value is not None]

    def are_of(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether these are still the weights: the same memory, to which autograd has seen nothing written."""
        values = [value for value in (weight, bias) if value is not None]
        return len(values) == len(self._of) and all(
            value.data_ptr() == kept.data_ptr() and value._version == version
            for value, (kept, version) in zip(values, self._of, strict=True)
        )


_prepared: WeakKeyDictionary[nn.Conv2d, Weights] = WeakKeyDictionary()


def serve(layer: nn.Conv2d, x: Tensor, *, limit: float | None = None) -> Tensor | None:
    """What `layer` gives for images `x` [N, C, H, W], if the kernel can serve and few enough of them are ones.

    The layer's weights are put in order once, and again when they change; not seen is a change through `.data`.

    Args:
        layer: the convolution.
        x: its input.
        limit: share of ones in `x` up to which it is computed; None for up to where it is faster: `LIMIT` or
            `SMALL_LIMIT`, lowered where the last block of filters is not full.

    Returns:
        As `summed`, without gradients; None for a larger share of ones, for any other value in `x`, and where the
        kernel cannot serve.
    """
    weight, bias = layer.weight, layer.bias
    if not serves(layer, x) or (limit is None and not worth(layer)):
        return None
    weights = _prepared.get(layer)
    if weights is None or not weights.are_of(weight, bias):
        weights = _prepared[layer] = Weights(weight, bias)
    listed = listing(layer, x, limit=fastest(layer, x) if limit is None else limit)
    return None if listed is None else summed(listed, weights)


def fastest(layer: nn.Conv2d, x: Tensor) -> float:
    """Share of ones up to which the sum over events is faster than the dense convolution."""
    small = x[0, 0].numel() <= SMALL and x.shape[1] >= DEEP
    return used(layer.out_channels) * (SMALL_LIMIT if small else LIMIT)


def used(filters: int) -> float:
    """Share of their blocks that so many filters fill."""
    block = _block(filters)
    return filters / (math.ceil(filters / block) * block)


def _block(filters: int) -> int:
    return next((block for block in BLOCKS if block >= filters), BLOCKS[-1])


def worth(layer: nn.Conv2d) -> bool:
    """Whether the layer has work enough that leaving some out saves time."""
    return layer.weight[0].numel() >= FEWEST * layer.stride[0] * layer.stride[1]


def serves(layer: nn.Conv2d, x: Tensor) -> bool:
    """Whether the kernel can take `layer` and images like `x` [N, C, H, W], whatever their values."""
    channels, height, width = x.shape[1:]
    return (
        x.dtype == layer.weight.dtype == torch.float32
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
        and all(len(set(pair)) == 1 for pair in (layer.stride, layer.padding))
        and set(layer.dilation) == {1}
        and channels == layer.in_channels
        and channels * width <= PLACES
        and channels * height * width < 1 << 31
        and not layer.weight.is_inference()  # whose changes cannot be seen
        and not refusal(x.device, x.dtype, None)
        and not torch.is_autocast_enabled(x.device.type)  # which asks for another dtype
    )


class Listed(NamedTuple):
    """The events of images of zeros and ones, and the convolution that they are listed for.

    Attributes:
        sizes: of the convolution, as sparse_conv.hpp has them.
        starts: where each pixel's events begin, int32 [N, H * W + 1].
        places: the events, uint16 [N, H * W * C + 8], of which only what `starts` tells of is written.
        share: of ones among all values.
    """

    sizes: Sizes
    starts: Tensor
    places: Tensor
    share: float


def listing(layer: nn.Conv2d, x: Tensor, *, limit: float) -> Listed | None:
    """The events of `x`, for a layer and images that `serves` says yes to.

    That an input is made of spikes is not taken from where it comes: the pass that lists the events sees every
    value.

    Args:
        layer: the convolution.
        x: float32 [N, C, H, W].
        limit: share of ones in `x` up to which they are listed.

    Returns:
        None for a larger share of ones, or any other value in `x`.
    """
    x = x.contiguous(memory_format=torch.channels_last).permute(0, 2, 3, 1)
    images, height, width, channels = x.shape
    if not x.is_contiguous():  # torch takes some shapes with a length of 1 for channels last
        x = x.contiguous()
    starts = torch.empty(images, height * width + 1, dtype=torch.int32)
    places = torch.empty(images, height * width * channels + 8, dtype=torch.uint16)
    entered = entry("events_list", x.dtype)
    entered.restype = ctypes.c_int64
    told = (images, height * width, width, channels, int(limit * x.numel()))
    count = entered(pointer(x), *map(ctypes.c_int64, told), pointer(starts), pointer(places), threads())
    if count < 0:
        return None
    stride, padding = layer.stride[0], layer.padding[0]
    assert isinstance(padding, int)
    kernel = layer.weight.shape[2:]
    out = ((side + 2 * padding - window) // stride + 1 for side, window in zip((height, width), kernel, strict=True))
    sizes = Sizes(images, height, width, channels, layer.out_channels, *kernel, stride, padding, *out)
    return Listed(sizes, starts, places, count / max(x.numel(), 1))


def summed(listed: Listed, weights: Weights) -> Tensor:
    """The convolution, equal to torch's but for the order in which it adds: [N, filters, H', W'], channels last."""
    sizes = listed.sizes
    out = torch.empty(sizes.images, sizes.out_height, sizes.out_width, sizes.filters)
    entry("events_gather", out.dtype)(
        ctypes.byref(sizes),
        ctypes.c_int64(weights.block),
        *map(pointer, (listed.starts, listed.places, weights.rows, weights.bias, out)),
        threads(),
    )
    return out.permute(0, 3, 1, 2)


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Where its memory begins, for a kernel."""
    return ctypes.c_void_p(tensor.data_ptr())


def threads() -> ctypes.c_int:
    """As many as torch's, for a kernel."""
    return ctypes.c_int(torch.get_num_threads())
