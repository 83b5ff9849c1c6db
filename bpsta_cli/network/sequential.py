"""Structures in the paper's notation: tokens to layers one after another, with the shape checked at every token."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence

from torch import nn

from bpsta_cli.errors import StructureError
from bpsta_cli.network import notation
from bpsta_cli.network.budget import Budget
from bpsta_cli.network.dropout import NeuronDropout
from bpsta_cli.network.layers import AvgPool, Conv, Flatten, Linear, MaxPool, ReLU, output_layer


def sequence(
    tokens: Sequence[notation.Token],
    input_shape: tuple[int, int, int],
    classes: int,
    neuron: Callable[[], nn.Module],
    norm: Callable[[int], nn.Module],
    dropout: float,
) -> "OrderedDict[str, nn.Module]":
    """The layers that `tokens` stand for, the output layer among them, by name (conv1, norm1, relu1, lif1, ...).

    Args:
        tokens: from `notation.parse`.
        input_shape: (C, H, W), each at least 1.
        classes: number of classes.
        neuron: makes a layer of neurons.
        norm: makes a normalisation of so many channels.
        dropout: probability of DP tokens.

    Raises:
        StructureError: a token does not fit its input.
    """
    layers = _Layers(input_shape, neuron, norm, dropout)
    for place, token in enumerate(tokens[:-1]):
        layers.add(token, first=place == 0, before_output=place == len(tokens) - 2)
    layers.output(tokens[-1], classes)
    return layers.layers


class _Layers:
    """Turns tokens into layers, and keeps the shape of the next token's input."""

    def __init__(
        self,
        shape: tuple[int, ...],
        neuron: Callable[[], nn.Module],
        norm: Callable[[int], nn.Module],
        dropout: float,
    ) -> None:
        self.shape = shape
        self.neuron, self.norm, self.dropout = neuron, norm, dropout
        self.layers: OrderedDict[str, nn.Module] = OrderedDict()
        self.counts: Counter[str] = Counter()
        self.budget = Budget()

    def add(self, token: notation.Token, *, first: bool, before_output: bool) -> None:
        """Append what `token` stands for."""
        if token.kind == "conv":
            self._conv(token)
        elif token.kind in ("max-pool", "avg-pool"):
            self._pool(token)
        elif token.kind == "dropout":
            self._append("dropout", NeuronDropout(self.dropout))
        elif token.kind == "input" or (token.kind == "neurons" and first):
            self._check_input(token)
        elif not (token.kind == "fc" and before_output and token.numbers[0] == math.prod(self.shape)):
            # (the 512FC of the paper's "512FC-10Voting" is no layer: it names the 512 inputs of the output layer)
            self._hidden(token)

    def output(self, token: notation.Token, classes: int) -> None:
        """Append the output layer."""
        voters = token.numbers[0]
        if token.kind == "neurons":
            if voters != classes:
                raise StructureError(
                    "output of the wrong size",
                    expected=f"{classes} neurons, one a class",
                    got=f"{token.text!r} ({token.place})",
                    todo=f"End with {classes} or with nVoting.",
                )
            voters = 1
        self._flatten()
        self.budget.take(voters * classes * (self.shape[0] + 1), f"{token.text!r} ({token.place})")
        for kind, layer in output_layer(self.shape[0], classes, voters, self.neuron).items():
            self._append(kind, layer)

    def _append(self, kind: str, layer: nn.Module) -> None:
        self.counts[kind] += 1
        self.layers[f"{kind}{self.counts[kind]}"] = layer

    def _conv(self, token: notation.Token) -> None:
        filters, kernel = token.numbers
        channels, height, width = self._image(token)
        self.shape = (filters, height + 3 - kernel, width + 3 - kernel)
        self._fits(token)
        self.budget.take(filters * (channels * kernel**2 + 1), f"{token.text!r} ({token.place})")
        self._append("conv", Conv(channels, filters, kernel, padding=1))
        self._append("norm", self.norm(filters))
        self._append("relu", ReLU())
        self._append("lif", self.neuron())

    def _pool(self, token: notation.Token) -> None:
        channels, height, width = self._image(token)
        kernel = token.numbers[0]
        self.shape = (channels, height // kernel, width // kernel)
        self._fits(token)
        self._append("pool", MaxPool(kernel) if token.kind == "max-pool" else AvgPool(kernel))

    def _hidden(self, token: notation.Token) -> None:
        self._flatten()
        self.budget.take(token.numbers[0] * (self.shape[0] + 1), f"{token.text!r} ({token.place})")
        self._append("linear", Linear(self.shape[0], token.numbers[0]))
        self._append("relu", ReLU())
        self._append("lif", self.neuron())
        self.shape = (token.numbers[0],)

    def _flatten(self) -> None:
        if len(self.shape) > 1:
            self._append("flatten", Flatten())
            self.shape = (math.prod(self.shape),)

    def _check_input(self, token: notation.Token) -> None:
        if math.prod(token.numbers) != math.prod(self.shape):
            raise StructureError(
                "input of the wrong size",
                expected=f"{'x'.join(map(str, self.shape))} = {math.prod(self.shape)} values",
                got=f"{token.text!r} ({token.place})",
                todo="Leave the input out of the structure, or give the data set's own size.",
            )

    def _image(self, token: notation.Token) -> tuple[int, int, int]:
        if len(self.shape) != 3:
            raise StructureError(
                "convolution or pooling after a layer of neurons",
                expected="an image with height and width",
                got=f"{token.text!r} ({token.place}) on {self.shape[0]} values",
                todo="Put it before the first nFC.",
            )
        return self.shape[0], self.shape[1], self.shape[2]

    def _fits(self, token: notation.Token) -> None:
        if min(self.shape) < 1:
            raise StructureError(
                "the image is too small for the structure",
                expected=f"at least 1 pixel after {token.text!r} ({token.place})",
                got=f"{self.shape[1]} x {self.shape[2]}",
                todo="Use a smaller kernel there, or less pooling before it.",
            )
