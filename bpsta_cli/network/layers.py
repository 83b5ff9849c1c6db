"""Layers that see time: [T, B, ...] in, [T, B, ...] out. Only the neuron lets one step act on the next.

A static image enters as a stride-0 time axis; every layer up to the first neuron then computes it once and
expands the result, which changes no value and, for batch norm, no running statistic.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels.capture import exported

CONVOLUTIONS = ("auto", "dense", "sparse")
"""How a convolution may be computed; `Conv.convolution` says what each is."""


def is_constant(x: Tensor) -> bool:
    """Whether all time steps of `x` [T, ...] are the same memory.

    What is exported or traced is later given other inputs, whose steps may differ: none is constant there.
    """
    if x.shape[0] == 1:
        return True
    return x.stride(0) == 0 and not exported()


def over_time(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply `function` [B, ...] -> [B, ...] to every step of `x` [T, B, ...], T folded into the batch."""
    if is_constant(x):
        y = function(x[0])
        return kernels.repeated(y, x.shape[0])
    y = function(x.flatten(0, 1))
    return y.view(*x.shape[:2], *y.shape[1:])


class Presynaptic(Protocol):
    """What a convolution knows of the neurons whose spikes are its input.

    Attributes:
        passes_error_at_spikes_alone: whether dL/do comes to nothing where they did not fire.
    """

    @property
    def passes_error_at_spikes_alone(self) -> bool:
        """As above."""


class Conv(nn.Conv2d):
    """Convolution at every time step.

    Attributes:
        convolution: how the outputs and the gradients are computed. "dense" computes every product. "sparse" is a
            sparse convolution, which adds the weights of the spikes, wherever all inputs are 0 or 1. "auto" is
            "sparse" where few enough inputs are 1, and "dense" elsewhere. All give the same bits.
        presynaptic: the neurons whose spikes, pooled or not, are the input; () where the input may be anything else.
            Where all of them pass an error on at spikes alone, a sparse convolution sets the input's
            gradient to 0 where the input is 0.
        observers: each is called at every call with the number of images and whether the convolution was sparse.
    """

    convolution = "auto"
    presynaptic: tuple["Presynaptic", ...] = ()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.observers: list[Callable[[int, bool], None]] = []

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C', H', W']."""
        return over_time(lambda images: self._images(images, batch=x.shape[1]), x)

    def _images(self, images: Tensor, *, batch: int) -> Tensor:
        zero_gradient_without_spike = bool(self.presynaptic) and all(
            neurons.passes_error_at_spikes_alone for neurons in self.presynaptic
        )
        output = kernels.conv(
            self,
            images,
            batch=batch,
            convolution=self.convolution,
            zero_gradient_without_spike=zero_gradient_without_spike,
        )
        for observer in self.observers:
            observer(len(images), output.sparse)
        return output.images


def check_convolution(name: str) -> None:
    """Refuse a name that `Conv.convolution` does not know.

    Raises:
        SettingsError: it is none of `CONVOLUTIONS`.
    """
    if name not in CONVOLUTIONS:
        raise SettingsError(
            "unknown way of convolving",
            expected=f"one of {', '.join(CONVOLUTIONS)}",
            got=repr(name),
            todo='"auto" takes the faster, "dense" computes every product, "sparse" leaves out those with 0.',
        )


class Linear(nn.Linear):
    """Linear layer at every time step."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, N] -> [T, B, N']."""
        return over_time(lambda rows: kernels.linear(self, rows, batch=x.shape[1]), x)


class ReLU(nn.ReLU):
    """ReLU at every time step."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ...] -> the same shape."""
        return over_time(super().forward, x)


class MaxPool(nn.MaxPool2d):
    """Max pooling at every time step."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H / k, W / k], rounded down."""
        return over_time(super().forward, x)


class AvgPool(nn.AvgPool2d):
    """Average pooling at every time step."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, C, H / k, W / k], rounded down."""
        size, stride = _pair(self.kernel_size), _pair(self.stride)
        plain = size == stride and _pair(self.padding) == (0, 0) and not self.ceil_mode
        if plain and x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64):
            return over_time(lambda images: _window_means(images, size), x)
        return over_time(super().forward, x)


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else size


def _window_means(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Means over windows of so many rows and columns; a window's values are added row by row, as they lie in it."""
    tall, wide = size
    rows, columns = x.shape[2] // tall, x.shape[3] // wide
    whole = x.permute(0, 2, 3, 1)[:, : rows * tall, : columns * wide]  # channels last, as most images lie in memory
    windows = whole.view(x.shape[0], rows, tall, columns, wide, x.shape[1]).movedim((2, 4), (0, 1))
    return kernels.mean_over(windows.flatten(0, 1), 0).permute(0, 3, 1, 2)


class Flatten(nn.Module):
    """All but time and batch into one axis."""

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, ...] -> [T, B, N]."""
        return over_time(lambda step: step.flatten(1), x)


class Voting(nn.Module):
    """Output neurons vote for their class: the mean over groups of `voters`."""

    def __init__(self, voters: int) -> None:
        super().__init__()
        self.voters = voters

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, voters * classes] -> [T, B, classes], in [0, 1] for spikes; of float32 at least."""
        dtype = torch.promote_types(x.dtype, torch.float32)  # a tenth is no bfloat16
        return kernels.mean_over(x.to(dtype).reshape(*x.shape[:-1], -1, self.voters), -1)

    def extra_repr(self) -> str:
        """Its constant, for printing."""
        return f"voters={self.voters}"


def output_layer(
    inputs: int, classes: int, voters: int, neuron: Callable[[], nn.Module]
) -> "OrderedDict[str, nn.Module]":
    """The output layer: `voters` neurons for each class, whose spikes are averaged.

    Args:
        inputs: number of inputs.
        classes: number of classes.
        voters: output neurons of each class.
        neuron: makes a layer of neurons.
    """
    return OrderedDict(linear=Linear(inputs, voters * classes), lif=neuron(), voting=Voting(voters))
