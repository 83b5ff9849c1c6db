"""Whether torch looks at a network without running it: compiles, exports or traces it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PLAIN = (Tensor, nn.Parameter)
"""Tensors with memory. Of the other kinds there are stand-ins that have a shape and no values."""


def captured(x: Tensor) -> bool:
    """Whether an operation on `x` is looked at, so that the kernels must be operators (operators.py)."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or type(x) not in PLAIN
