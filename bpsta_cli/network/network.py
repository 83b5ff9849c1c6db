"""A structure as layers in time: its votes, its neurons, its synapses."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.errors import StructureError
from bpsta_cli.kernels import dispatch
from bpsta_cli.network.dropout import NeuronDropout
from bpsta_cli.network.fusion import Layers
from bpsta_cli.network.layers import Conv, Linear, check_convolution, is_constant
from bpsta_cli.network.neurons import LIF, SpikeActivity
from bpsta_cli.random_numbers import Stream

Layer = TypeVar("Layer", bound=nn.Module)


class Network(nn.Module):
    """A structure as layers in time.

    Attributes:
        layers: the layers in order, named as the tables name them (conv1, norm1, relu1, lif1, ...;
            stem.conv, stage1.block1.conv1, ..., output.linear in a residual network).
    """

    def __init__(self, layers: "OrderedDict[str, nn.Module]", *, spiking: bool) -> None:
        super().__init__()
        self.layers = Layers(layers)
        self.spiking = spiking

    @property
    def spiking(self) -> bool:
        """Whether the neurons take part.

        False makes it the ReLU twin: the neurons are left out (ReLU stays), and an input that is the same at
        every step is processed once.
        """
        return self._spiking

    @spiking.setter
    def spiking(self, value: bool) -> None:
        self._spiking = value
        for neuron in self._named(LIF).values():
            neuron.active = value

    @property
    def convolution(self) -> str:
        """How its convolutions are computed: one of `layers.CONVOLUTIONS`, "auto" to begin with.

        Raises:
            SettingsError: set to another name.
        """
        return next((conv.convolution for conv in self.convolutions().values()), "auto")

    @convolution.setter
    def convolution(self, value: str) -> None:
        check_convolution(value)
        for conv in self.convolutions().values():
            conv.convolution = value

    @contextmanager
    def convolution_as(self, value: str) -> Iterator[None]:
        """While the context is open, the convolutions are computed so; afterwards as before, after an error too.

        Raises:
            SettingsError: `value` is none of `layers.CONVOLUTIONS`.
        """
        before = {conv: conv.convolution for conv in self.convolutions().values()}
        self.convolution = value
        try:
            yield
        finally:
            for conv, way in before.items():
                conv.convolution = way

    @contextmanager
    def dropout_by(self, seed: int, epoch: int) -> Iterator[None]:
        """While the context is open, a sample's dropout follows from seed, epoch and its number alone.

        The numbers of each batch's samples are set by `dropout_samples`. Without the context torch's generator draws.

        Args:
            seed: the run's seed.
            epoch: which pass over the training samples.
        """
        layers = self._named(NeuronDropout)
        for name, layer in layers.items():
            layer.stream = Stream("dropout", seed, epoch, name)
        try:
            yield
        finally:
            for layer in layers.values():
                layer.stream = None

    def dropout_samples(self, samples: Sequence[int]) -> None:
        """Say which samples the next pass is of, by their numbers in the training part."""
        for layer in self._named(NeuronDropout).values():
            layer.samples = samples

    def votes(self, x: Tensor) -> Tensor:
        """Votes of every step: [T, B, C, H, W] -> [T, B, classes] (the twin on a constant input: T = 1)."""
        votes: Tensor = self.layers(self.layer_input(x))
        return votes

    def layer_input(self, x: Tensor) -> Tensor:
        """The part of the input that the layers work on: of a constant input the twin needs a single step.

        Raises:
            StructureError: the input is not [T, B, C, H, W]; without time a batch would be taken for it.
        """
        if x.dim() != 5:
            raise StructureError(
                "network input of unusable axes",
                expected="[T, B, C, H, W], time first",
                got=f"shape {list(x.shape)}",
                todo="Of images [B, C, H, W], shown at every step: images.expand(T, -1, -1, -1, -1).",
            )
        return x[:1] if not self.spiking and is_constant(x) else x

    def forward(self, x: Tensor) -> Tensor:
        """Mean votes: [T, B, C, H, W] -> [B, classes], in [0, 1] when spiking."""
        return kernels.mean_over(self.votes(x), 0)

    def neurons(self) -> dict[str, LIF]:
        """The spiking layers by name, in order; empty for the twin."""
        return self._named(LIF) if self.spiking else {}

    @contextmanager
    def observed(self, make_observer: Callable[[str, LIF], Callable[[SpikeActivity], None]]) -> Iterator[None]:
        """While the context is open, each spiking layer calls the observer that was made for it.

        Args:
            make_observer: makes the observer of a layer from the layer's name and the layer.
        """
        observed = [(neuron, make_observer(name, neuron)) for name, neuron in self.neurons().items()]
        for neuron, observer in observed:
            neuron.observers.append(observer)
        try:
            yield
        finally:
            for neuron, observer in observed:
                neuron.observers.remove(observer)

    def kernel(self, device: torch.device) -> dispatch.Choice | None:
        """The kernel that runs the neurons on `device`, and why; None for the twin."""
        for neuron in self.neurons().values():
            return dispatch.choose(neuron.backend, device=device, rule=neuron.rule)
        return None

    def convolutions(self) -> dict[str, Conv]:
        """The convolutions by name, in order."""
        return self._named(Conv)

    def synapses(self) -> dict[str, Conv | Linear]:
        """The layers with synapses by name, in order."""
        return self.convolutions() | self._named(Linear)

    def _named(self, kind: type[Layer]) -> dict[str, Layer]:
        return {name: layer for name, layer in self.layers.named_modules() if isinstance(layer, kind)}
