"""AdamW's arithmetic on the CPU: compiled, and in torch's elementwise operations with the same bits.

README.md in the folder above has the equations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.square_root import square_root


class Constants(NamedTuple):
    """What a step is for all elements alike; each is rounded to the dtype of the parameters.

    Attributes:
        decay: what the weights are multiplied with: 1 - rate * weight decay.
        beta1: share of the gradients' mean that is kept.
        rest1: 1 - beta1.
        beta2: share of the squares' mean that is kept.
        rest2: 1 - beta2.
        root: square root of the squares' bias correction.
        eps: what is added to the denominator.
        step_size: the rate over the mean's bias correction.
    """

    decay: float
    beta1: float
    rest1: float
    beta2: float
    rest2: float
    root: float
    eps: float
    step_size: float


def update(
    parameters: Sequence[Tensor],
    gradients: Sequence[Tensor],
    means: Sequence[Tensor],
    squares: Sequence[Tensor],
    constants: Constants,
) -> None:
    """One step, in place; all tensors of one dtype on the CPU, and those of a parameter gapless in one layout."""
    first = parameters[0]
    if library.unsupported_reason(first.device, first.dtype, None):
        for tensors in zip(parameters, gradients, means, squares, strict=True):
            reference(*tensors, constants)
        return
    sizes = torch.tensor([parameter.numel() for parameter in parameters])
    arrays = (parameters, gradients, means, squares, sizes)
    library.call("adamw", first.dtype, *arrays, len(parameters), *map(float, constants))
    torch.autograd.graph.increment_version(list(parameters))  # what was made of the weights is made anew


def reference(parameter: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, constants: Constants) -> None:
    """The specification: one step of one parameter, one operation at a time, in place."""
    c = constants
    mean.mul_(c.beta1).add_(gradient * c.rest1)
    square.mul_(c.beta2).add_((gradient * gradient).mul_(c.rest2))
    denominator = square_root(square).div_(c.root).add_(c.eps)
    parameter.mul_(c.decay).sub_((mean / denominator).mul_(c.step_size))
