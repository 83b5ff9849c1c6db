"""The orders in memory that the kernels read: steps one after another, each without gaps."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def dense_steps(x: Tensor) -> Tensor:
    """`x` in a layout whose steps are gapless, in whatever order; itself where it is so already.

    Time may have any stride, 0 included: an input that is constant in time stays one step of memory.
    """
    x = x.resolve_neg()
    expected = 1
    for stride, length in sorted(zip(x.stride()[1:], x.shape[1:], strict=True)):
        if length != 1:
            if stride != expected:
                return x[0].contiguous().expand_as(x) if x.stride(0) == 0 else x.contiguous()
            expected *= length
    return x


def empty_like(x: Tensor) -> Tensor:
    """Memory for a result: the steps one after another, each in the layout of those of `x`."""
    return torch.empty_strided(x.shape, (step_size(x), *x.stride()[1:]), dtype=x.dtype, device=x.device)


def empty_step(x: Tensor) -> Tensor:
    """Memory for one step, in the layout of those of `x`, which are gapless."""
    return torch.empty_strided(x.shape[1:], x.stride()[1:], dtype=x.dtype, device=x.device)


def step_size(x: Tensor) -> int:
    """Elements of one step."""
    return math.prod(x.shape[1:])


def channels_last(x: Tensor) -> Tensor:
    """`x` [S, B, C, H, W] with its images channels last and no gaps in it; itself where it is so already."""
    x = x.resolve_neg()
    _, batch, channels, height, width = x.shape
    inside = (height * width * channels, 1, width * channels, channels)
    lengths, strides = (batch, channels, height, width), x.stride()[1:]
    if all(length == 1 or stride == due for length, stride, due in zip(lengths, strides, inside, strict=True)) and (
        len(x) == 1 or x.stride(0) == batch * height * width * channels
    ):
        return x
    return x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)


def empty_images(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Memory for images [S, B, C, H, W], channels last, of the dtype and on the device of `like`."""
    steps, batch, channels, height, width = shape
    memory = torch.empty(steps, batch, height, width, channels, dtype=like.dtype, device=like.device)
    return memory.permute(0, 1, 4, 2, 3)
