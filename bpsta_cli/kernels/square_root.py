"""Square roots with the same bits on every machine."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def square_root(x: Tensor) -> Tensor:
    """The square root of each value, rounded as IEEE 754 has it where `x` is on the CPU; without gradient.

    torch.sqrt on the CPU may be MKL's, which is off by a unit in the last place for some values, and not for the same
    on every machine.
    """
    x = x.detach()
    if x.device.type != "cpu":
        return x.sqrt()
    with np.errstate(invalid="ignore"):
        return torch.from_numpy(np.sqrt(np.atleast_1d(x.numpy()))).view(x.shape)
