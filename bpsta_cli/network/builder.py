"""Structures built into networks: tokens to layers, with the shape checked at every token."""

import math
from collections import Counter, OrderedDict
from collections.abc import Callable

import torch
from torch import nn

from bpsta_cli import rules
from bpsta_cli.errors import StructureError
from bpsta_cli.network import notation, resnet
from bpsta_cli.network.fusion import connect
from bpsta_cli.network.layers import AvgPool, Conv, Flatten, Linear, MaxPool, NeuronDropout, ReLU, Voting
from bpsta_cli.network.network import Network
from bpsta_cli.network.neurons import LIF
from bpsta_cli.network.norms import make_norm

VOTERS = 10
"""Output neurons a class of a residual network, the 10Voting of the paper's own structures."""


def build(
    structure: str,
    input_shape: tuple[int, int, int],
    classes: int,
    method: str | rules.Rule = "bpsta",
    *,
    threshold: float = 0.5,
    decay: float = 0.9,
    norm: str = "folded",
    dropout: float = 0.5,
    backend: str = "auto",
    **rule_settings: rules.Value,
) -> Network:
    """Build a network from [T, B, C, H, W] to mean votes [B, classes].

    Args:
        structure: a name (`notation.names()`) or the notation.
        input_shape: (C, H, W) of one step.
        classes: number of classes.
        method: a learning rule, by name (`rules.names()`), by the path of its file or made; or "ann", the ReLU twin.
        threshold: firing threshold of every neuron.
        decay: decay of the membrane potential per step.
        norm: "folded", "tdbn" or "per-step" (`bpsta_cli.network.norms`).
        dropout: probability of DP tokens.
        backend: of the neuron's kernel.
        rule_settings: settings of a rule given by name, such as alpha=0.2.

    Raises:
        StructureError: a token that cannot be read or does not fit its input.
        SettingsError: an unknown method, norm or backend, a constant out of range, or a setting that is not the rule's.
    """
    rule = rules.make("bpsta" if method == rules.TWIN else method, **rule_settings)
    _check_shape(input_shape)

    def neuron() -> nn.Module:
        return LIF(rule, threshold, decay, backend=backend)

    def norm_of(channels: int) -> nn.Module:
        return make_norm(norm, channels, threshold=threshold)

    if structure in notation.RESIDUAL:
        layers = resnet.trunk(input_shape, notation.RESIDUAL[structure], neuron, norm_of)
        layers["output"] = nn.Sequential(_output(resnet.FILTERS[-1], classes, VOTERS, neuron))
    else:
        builder = _Builder(input_shape, neuron, norm_of, dropout)
        tokens = notation.parse(structure, inputs=math.prod(input_shape), classes=classes)
        for place, token in enumerate(tokens[:-1]):
            builder.add(token, first=place == 0, before_output=place == len(tokens) - 2)
        builder.output(tokens[-1], classes)
        layers = builder.layers
    network = Network(layers, spiking=method != rules.TWIN)
    connect(network)
    # convolutions then put their output channels last too, which is how the block's kernel reads images
    return network.to(memory_format=torch.channels_last)


def _output(inputs: int, classes: int, voters: int, neuron: Callable[[], nn.Module]) -> "OrderedDict[str, nn.Module]":
    """The output layer: `voters` neurons a class, their spikes averaged."""
    return OrderedDict(linear=Linear(inputs, voters * classes), lif=neuron(), voting=Voting(voters))


def _check_shape(shape: tuple[int, int, int]) -> None:
    if min(shape) < 1:
        raise StructureError(
            "the image is too small for the structure",
            expected="an input of at least 1 channel and 1 x 1 pixels",
            got=" x ".join(map(str, shape)),
            todo="Give the (C, H, W) of one time step.",
        )


class _Builder:
    """Turns tokens into layers while it keeps the shape that the next token will see."""

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
            # (the paper's "512FC-10Voting" only names the 512 inputs of the output layer)
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
        for kind, layer in _output(self.shape[0], classes, voters, self.neuron).items():
            self._append(kind, layer)

    def _append(self, kind: str, layer: nn.Module) -> None:
        self.counts[kind] += 1
        self.layers[f"{kind}{self.counts[kind]}"] = layer

    def _conv(self, token: notation.Token) -> None:
        filters, kernel = token.numbers
        channels, height, width = self._image(token)
        self.shape = (filters, height + 3 - kernel, width + 3 - kernel)
        self._fits(token)
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
