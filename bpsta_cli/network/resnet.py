"""Spiking residual networks: residual blocks of He et al. 2016 with a neuron after every ReLU.

He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385, Section 3.3
and Table 1. As is usual for small images, the stem is one 3x3 convolution at stride 1 without max pooling, so
that a 32 x 32 image reaches the stages in full. The convolutions have no bias, as in the reference
implementations: batch norm, which follows, would subtract it again. They have one where the norm is none. The weights
start at torch's defaults, as in every other structure of this package.
"""

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence

from torch import Tensor, nn

from bpsta_cli.network.fusion import Layers, run
from bpsta_cli.network.layers import AvgPool, Conv, Flatten, ReLU
from bpsta_cli.network.norms import NoNorm

FILTERS = (64, 128, 256, 512)
"""Filters of the four stages; every stage but the first halves height and width."""

Make = Callable[[], nn.Module]
MakeNorm = Callable[[int], nn.Module]


class ResidualBlock(nn.Module):
    """A residual block, the "basic" one: conv-norm-ReLU-neuron-conv-norm, plus a shortcut, then ReLU-neuron.

    The shortcut is the identity where shapes agree and a strided 1x1 convolution with norm where they do not
    (option B of He et al.). The neuron comes after the addition, so the output is spikes.

    The layers are defined in the order in which they run: `energy` relies on it.

    Args:
        channels: of the input.
        filters: of the output.
        stride: of the first convolution and of the shortcut.
        neuron: makes a layer of neurons.
        norm: makes a normalisation of so many channels.
    """

    def __init__(self, channels: int, filters: int, stride: int, neuron: Make, norm: MakeNorm) -> None:
        super().__init__()
        self.conv1, self.norm1 = _conv_norm(channels, filters, 3, stride, norm)
        self.relu1 = ReLU()
        self.lif1 = neuron()
        self.conv2, self.norm2 = _conv_norm(filters, filters, 3, 1, norm)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != filters:
            conv, its_norm = _conv_norm(channels, filters, 1, stride, norm)
            self.shortcut = _named(conv=conv, norm=its_norm)
        self.relu2 = ReLU()
        self.lif2 = neuron()

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, B, C, H, W] -> spikes [T, B, filters, H / stride, W / stride], rounded up."""
        spikes = run([self.conv1, self.norm1, self.relu1, self.lif1], x)
        current = self.norm2(self.conv2(spikes)) + self.shortcut(x)
        output: Tensor = self.lif2(self.relu2(current))
        return output


def trunk(
    input_shape: tuple[int, int, int], blocks: Sequence[int], neuron: Make, norm: MakeNorm
) -> "OrderedDict[str, nn.Module]":
    """Everything before the output layer: [T, B, C, H, W] -> [T, B, `FILTERS[-1]`], mean spikes over the image.

    Args:
        input_shape: (C, H, W), each at least 1.
        blocks: number of residual blocks in each of the four stages.
        neuron: makes a layer of neurons.
        norm: makes a normalisation of so many channels.

    Returns:
        The layers by name: stem, stage1 to stage4, pool, flatten.
    """
    channels, height, width = input_shape
    conv, its_norm = _conv_norm(channels, FILTERS[0], 3, 1, norm)
    layers = OrderedDict[str, nn.Module](stem=_named(conv=conv, norm=its_norm, relu=ReLU(), lif=neuron()))
    channels = FILTERS[0]
    for stage, (count, filters) in enumerate(zip(blocks, FILTERS, strict=True), start=1):
        stride = 1 if stage == 1 else 2
        height, width = math.ceil(height / stride), math.ceil(width / stride)
        first = ResidualBlock(channels, filters, stride, neuron, norm)
        others = [ResidualBlock(filters, filters, 1, neuron, norm) for _ in range(count - 1)]
        stage_layers = {f"block{n}": residual for n, residual in enumerate([first, *others], start=1)}
        layers[f"stage{stage}"] = _named(**stage_layers)
        channels = filters
    layers["pool"] = AvgPool((height, width))
    layers["flatten"] = Flatten()
    return layers


def _conv_norm(channels: int, filters: int, kernel: int, stride: int, norm: MakeNorm) -> tuple[Conv, nn.Module]:
    """A convolution whose output is as large as its input divided by the stride, and its norm."""
    its_norm = norm(filters)
    bias = isinstance(its_norm, NoNorm)
    return Conv(channels, filters, kernel, stride=stride, padding=kernel // 2, bias=bias), its_norm


def _named(**layers: nn.Module) -> nn.Sequential:
    return Layers(OrderedDict(layers))
