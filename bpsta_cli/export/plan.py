"""A network as the plain steps of its inference: the norms are folded into the convolutions, dropout is gone.

Every format is written from this list, so that what is folded and what is left out is decided once.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from bpsta_cli.errors import ExportError
from bpsta_cli.kernels.block_spec import scale_and_shift
from bpsta_cli.network import Network
from bpsta_cli.network.dropout import NeuronDropout
from bpsta_cli.network.layers import AvgPool, Conv, Flatten, Linear, MaxPool, ReLU, Voting
from bpsta_cli.network.neurons import LIF
from bpsta_cli.network.norms import FoldedNorm
from bpsta_cli.network.resnet import ResidualBlock

INPUT = "input"
"""What the network's input is called where a step has it as its source."""

Array = npt.NDArray[Any]
Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Convolve:
    """A convolution: weight [filters, C, K, K] and bias [filters], float32, with the norm behind it in them."""

    weight: Array
    bias: Array
    stride: Pair
    padding: Pair


@dataclass(frozen=True)
class Connect:
    """A linear layer: weight [outputs, inputs] and bias [outputs], float32."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Rectify:
    """max(x, 0)."""


@dataclass(frozen=True)
class Fire:
    """LIF neurons: u[t] = decay v[t-1] + x[t] (Eq. 4), a spike where u >= threshold, then v[t] = u[t] (1 - o[t])."""

    threshold: float
    decay: float


@dataclass(frozen=True)
class Pool:
    """Max or average pooling over windows, rounded down at the border."""

    average: bool
    size: Pair
    stride: Pair


@dataclass(frozen=True)
class Flat:
    """All axes of a sample into one."""


@dataclass(frozen=True)
class Vote:
    """The mean over the `voters` outputs of each class."""

    classes: int
    voters: int


@dataclass(frozen=True)
class Add:
    """The sum of two sources: a residual block's branches."""


Operation = Convolve | Connect | Rectify | Fire | Pool | Flat | Vote | Add


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes:
        name: the layer's, as the tables name it.
        operation: what it does.
        sources: the names of the steps whose outputs it takes, or `INPUT`.
        shape: of its output for one sample and time step.
        of: the layers that it stands for: a convolution and its norm are one step.
    """

    name: str
    operation: Operation
    sources: tuple[str, ...]
    shape: Shape
    of: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A network's steps in the order in which they run; the last one votes.

    Attributes:
        input_shape: (C, H, W) of one time step.
        steps: by name.
    """

    input_shape: tuple[int, int, int]
    steps: dict[str, Step]

    @property
    def neurons(self) -> dict[str, Step]:
        """The steps with a state: the layers of neurons, in order."""
        return {name: step for name, step in self.steps.items() if isinstance(step.operation, Fire)}

    @property
    def last(self) -> Step:
        """The step that votes."""
        return list(self.steps.values())[-1]

    def before_neurons(self) -> set[str]:
        """The steps that no layer of neurons comes before: constant in time where the input is."""
        found = {INPUT}
        for step in self.steps.values():
            if not isinstance(step.operation, Fire) and found.issuperset(step.sources):
                found.add(step.name)
        return found

    def spikes(self, name: str) -> bool:
        """Whether the output of a step is 0 or 1 everywhere."""
        if name == INPUT:
            return False
        operation = self.steps[name].operation
        passes_on = isinstance(operation, Flat) or (isinstance(operation, Pool) and not operation.average)
        return isinstance(operation, Fire) or (passes_on and self.spikes(self.steps[name].sources[0]))


def plan(network: Network, input_shape: tuple[int, int, int]) -> Plan:
    """The steps of a network's inference; it is set to evaluation, and its weights are not changed.

    Args:
        network: on the CPU.
        input_shape: (C, H, W) of one time step.

    Raises:
        ExportError: a layer that is none of this package's.
    """
    network.eval()
    builder = _Builder(input_shape, spiking=network.spiking)
    with torch.no_grad():
        builder.layer("", network.layers, INPUT)
    return Plan(input_shape, builder.steps)


class _Builder:
    """Turns layers into steps; each method takes the name of its source and returns that of its output."""

    def __init__(self, input_shape: tuple[int, int, int], *, spiking: bool) -> None:
        self.input_shape, self.spiking = input_shape, spiking
        self.steps: dict[str, Step] = {}

    def layer(self, name: str, layer: nn.Module, source: str) -> str:
        """Append what a layer does in inference."""
        if isinstance(layer, nn.Sequential):
            for child, inner in layer.named_children():
                source = self.layer(f"{name}.{child}" if name else child, inner, source)
            return source
        if isinstance(layer, ResidualBlock):
            return self._residual(name, layer, source)
        if isinstance(layer, FoldedNorm):
            return self._fold(name, layer, source)
        if isinstance(layer, (nn.Identity, NeuronDropout)) or (isinstance(layer, LIF) and not self.spiking):
            return source
        make = OPERATIONS.get(type(layer))
        if make is None or _is_unusual(layer):
            raise _unknown(name, layer)
        return self._append(name, make(layer, self._shape(source)), (source,))

    def _residual(self, name: str, block: ResidualBlock, source: str) -> str:
        inner = source
        for child in ("conv1", "norm1", "relu1", "lif1", "conv2", "norm2"):
            inner = self.layer(f"{name}.{child}", block.get_submodule(child), inner)
        shortcut = self.layer(f"{name}.shortcut", block.shortcut, source)
        output = self._append(f"{name}.add", Add(), (inner, shortcut))
        for child in ("relu2", "lif2"):
            output = self.layer(f"{name}.{child}", block.get_submodule(child), output)
        return output

    def _fold(self, name: str, norm: FoldedNorm, source: str) -> str:
        """Multiply the norm into the convolution before it: exact but for rounding, as evaluation's norm is constant.

        A norm with statistics of each step has one running set in evaluation too.
        """
        step = self.steps.get(source)
        if step is None or not isinstance(step.operation, Convolve):
            raise _unknown(name, norm)
        gain, shift, stats = norm.values(torch.zeros(0))
        assert stats is not None, "the network is in evaluation"
        scale, offset = (each[0].numpy() for each in scale_and_shift(gain, shift, stats, norm.eps))
        operation = step.operation
        weight = operation.weight.astype(np.float64) * scale[:, None, None, None]
        bias = operation.bias.astype(np.float64) * scale + offset
        folded = dataclasses.replace(operation, weight=weight.astype(np.float32), bias=bias.astype(np.float32))
        self.steps[source] = dataclasses.replace(step, operation=folded, of=(*step.of, name))
        return source

    def _append(self, name: str, operation: Operation, sources: tuple[str, ...]) -> str:
        shape = _output_shape(operation, self._shape(sources[0]))
        self.steps[name] = Step(name, operation, sources, shape, of=(name,))
        return name

    def _shape(self, source: str) -> Shape:
        return self.input_shape if source == INPUT else self.steps[source].shape


def _output_shape(operation: Operation, shape: Shape) -> Shape:
    if isinstance(operation, Convolve):
        kernel = (operation.weight.shape[2], operation.weight.shape[3])
        return (len(operation.weight), *_window_places(shape, kernel, operation.stride, operation.padding))
    if isinstance(operation, Pool):
        return (shape[0], *_window_places(shape, operation.size, operation.stride, (0, 0)))
    if isinstance(operation, Connect):
        return (len(operation.weight),)
    if isinstance(operation, Flat):
        return (int(np.prod(shape)),)
    if isinstance(operation, Vote):
        return (operation.classes,)
    return shape


def _window_places(shape: Shape, size: Pair, stride: Pair, padding: Pair) -> Shape:
    """Height and width of the places that a window can take in an image (C, H, W)."""
    sides = zip(shape[1:], size, stride, padding, strict=True)
    return tuple((side + 2 * pad - window) // step + 1 for side, window, step, pad in sides)


def _weights(layer: Conv | Linear) -> tuple[Array, Array]:
    weight = _array(layer.weight)
    return weight, np.zeros(len(weight), np.float32) if layer.bias is None else _array(layer.bias)


def _array(values: Tensor) -> Array:
    return np.ascontiguousarray(values.detach().float().numpy())


def _pair(size: Any) -> Pair:
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


OPERATIONS: dict[type[nn.Module], Callable[[Any, Shape], Operation]] = {
    Conv: lambda layer, _: Convolve(*_weights(layer), _pair(layer.stride), _pair(layer.padding)),
    Linear: lambda layer, _: Connect(*_weights(layer)),
    LIF: lambda layer, _: Fire(layer.threshold, layer.decay),
    MaxPool: lambda layer, _: Pool(False, _pair(layer.kernel_size), _pair(layer.stride)),
    AvgPool: lambda layer, _: Pool(True, _pair(layer.kernel_size), _pair(layer.stride)),
    Voting: lambda layer, shape: Vote(shape[0] // layer.voters, layer.voters),
    ReLU: lambda *_: Rectify(),
    Flatten: lambda *_: Flat(),
}
"""What each kind of layer does in inference, from the layer and the shape of its input."""


def _is_unusual(layer: nn.Module) -> bool:
    """Whether a layer of a known kind has options that no network of this package has, and no operation here."""
    if isinstance(layer, Conv):
        return layer.groups != 1 or layer.dilation != (1, 1)
    return isinstance(layer, MaxPool | AvgPool) and (layer.ceil_mode or _pair(layer.padding) != (0, 0))


def _unknown(name: str, layer: nn.Module) -> ExportError:
    return ExportError(
        "a layer that cannot be exported",
        expected="the layers that bpsta_cli.build makes",
        got=f"{name}, a {type(layer).__name__}",
        todo="Export a network of the paper's notation or a named one.",
    )
