"""Whether torch looks at a network without running it: compiles, exports or traces it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.jit import is_tracing  # type: ignore[attr-defined]  # public, and in no __all__

PLAIN = (Tensor, nn.Parameter)
"""Tensors with memory. Those of other kinds may be stand-ins, which have a shape and no values."""


_Function = TypeVar("_Function", bound=Callable[..., object])


def asked_once(function: _Function) -> _Function:
    """Have a compiled network ask `function` while it is compiled, and keep the answer.

    As torch.compiler.assume_constant_result, which loads torch's compiler: that takes seconds, also where nothing is
    compiled.
    """
    function._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return function


def captured(x: Tensor) -> bool:
    """Whether an operation on `x` is looked at, so that the kernels must be operators (operators/)."""
    return torch.compiler.is_compiling() or traced() or type(x) not in PLAIN


def traced() -> bool:
    """Whether operations are recorded one by one, as torch.jit.trace does."""
    return bool(is_tracing())  # type: ignore[no-untyped-call]


def exported() -> bool:
    """Whether the network is written down, to run later with other inputs."""
    return torch.compiler.is_exporting() or traced()
