"""How many synapses an input value reaches."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli.network.layers import Conv, Linear


def fan_out(layer: Conv | Linear, inputs: tuple[int, ...], *, dense: bool = False) -> Tensor:
    """Synapses that each input value reaches, borders and strides counted exactly: float64 of shape `inputs`.

    Args:
        layer: a convolution or linear layer.
        inputs: (C, H, W), or (N,).
        dense: count synapses of weight 0 too.
    """
    there = torch.ones_like(layer.weight) if dense else (layer.weight != 0)
    there = there.detach().double().cpu()
    if isinstance(layer, Linear):
        return there.sum(0)
    _, height, width = inputs
    kernels = there.sum(0).unsqueeze(1)  # [C, 1, K, K]: filters with a weight at that place
    padding, stride = (int(layer.padding[0]), int(layer.padding[1])), layer.stride
    places = F.conv2d(
        torch.ones(1, 1, height, width), torch.ones(1, 1, *layer.kernel_size), stride=stride, padding=padding
    )
    ones = torch.ones(1, len(kernels), *places.shape[2:], dtype=torch.float64)
    spread = F.conv_transpose2d(ones, kernels, stride=stride, groups=len(kernels))
    frame = torch.zeros(len(kernels), height + 2 * padding[0], width + 2 * padding[1], dtype=torch.float64)
    frame[:, : spread.shape[2], : spread.shape[3]] = spread[0]
    return frame[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]


def reach(layer: nn.Module, inputs: tuple[int, ...]) -> Tensor:
    """`fan_out` of a layer with weights; a shortcut hands each value on to one neuron."""
    if isinstance(layer, Conv | Linear):
        return fan_out(layer, inputs)
    return torch.ones(inputs, dtype=torch.float64)
