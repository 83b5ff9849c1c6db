"""held.hpp's Held: which samples of a batch the kernels see, and which shares of its sums they make."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from bpsta_cli.distributed import division
from bpsta_cli.distributed.division import SAMPLE_SHARES, Division

QUARTERS = 4
"""Parts of a share in sums over images (shares.hpp)."""


class Held(ctypes.Structure):
    """held.hpp's Held."""

    _fields_ = tuple((name, ctypes.c_int64) for name in division.Held._fields)


def all_of(batch: int) -> Held:
    """All shares of a batch that one process computes."""
    return Held(batch, 0, batch, 0, SAMPLE_SHARES)


def each_share(divided: Division) -> list[Held]:
    """The shares that this process computes, one by one."""
    held = divided.held
    return [Held(*held._replace(begin=share, end=share + 1)) for share in range(held.begin, held.end)]


def empty_parts(divided: Division, *shape: int) -> tuple[Held, Tensor]:
    """What a kernel is told that sums over images, and memory for its sums: float64 zeros [parts, *shape]."""
    held = divided.held
    return Held(*held), torch.zeros((held.end - held.begin) * QUARTERS, *shape, dtype=torch.float64)
