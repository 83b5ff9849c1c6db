"""What is measured: this package's networks, the loop over T as published, the ReLU twin, the convolutions alone.

Every variant is made from one network and has its weights. The other packages' variants are in `peers.py`.
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.network import Network, layers
from bpsta_cli.network.dropout import NeuronDropout
from bpsta_cli.network.neurons import LIF
from bpsta_cli.network.norms import FoldedNorm

TWIN, CONVOLUTIONS, OURS = "ann", "convolutions", "bpsta"
DENSITY = 0.1
"""Density of the inputs that the convolutions alone are given."""


class Subject(nn.Module, ABC):
    """Something that gives votes and has gradients.

    Attributes:
        layers: holds the parameters, named as in the network that the subject was made from.
    """

    def __init__(self, layers: nn.Module) -> None:
        super().__init__()
        self.layers = layers

    def prepare(self, x: Tensor) -> Tensor:
        """The input [T, B, C, H, W] as the subject takes it, made before the clock starts: here T whole images."""
        return x.contiguous()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Votes [T, B, classes]."""


@dataclass(frozen=True)
class Variant:
    """A row of the tables.

    Attributes:
        name: of the row.
        about: what it is, for the list beneath the tables.
        make: the subject, from the network whose weights it takes.
        reference: options of `build` for the network that it is held against.
        package: that it needs, as PyPI calls it; "" for none.
        checked: whether there are votes to compare.
    """

    name: str
    about: str
    make: Callable[[Network], Subject]
    reference: Mapping[str, Any] = field(default_factory=dict)
    package: str = ""
    checked: bool = True


class Project(Subject):
    """A network of this package; an image that is the same at every step stays one image."""

    def __init__(self, network: Network) -> None:
        super().__init__(network.layers)
        self.network = network  # registered as a whole: it too is set to training and evaluation

    def prepare(self, x: Tensor) -> Tensor:
        """As `data.encoding.to_input` gives it."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Votes."""
        return self.network.votes(x)


class Twin(Subject):
    """Plain torch layers in channels_last on T x B images."""

    def __init__(self, network: Network) -> None:
        super().__init__(translated(network).to(memory_format=torch.channels_last))

    def prepare(self, x: Tensor) -> Tensor:
        """T x B images, channels last."""
        return channels_last(x)

    def forward(self, x: Tensor) -> Tensor:
        """Votes."""
        votes: Tensor = self.layers(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return votes


class Stepwise(Subject):
    """The loop over T around the whole network, plain torch layers and autograd."""

    def __init__(self, network: Network) -> None:
        super().__init__(translated(network, lambda lif: _Published(lif.rule, lif.threshold, lif.decay)))

    def forward(self, x: Tensor) -> Tensor:
        """Votes."""
        for layer in self.layers.modules():
            if isinstance(layer, _Published):
                layer.v = None
        return torch.stack([self.layers(step) for step in x])


class _Published(nn.Module):
    """One step of the neuron, its potential kept from call to call; the rule's gradients by autograd."""

    def __init__(self, rule: rules.Rule, threshold: float, decay: float) -> None:
        super().__init__()
        self.rule, self.threshold, self.decay = rule, threshold, decay
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [B, ...]; v as kernels/README.md says which of its parts are held constant."""
        u = x if self.v is None else self.decay * self.v + x
        o: Tensor = _Spike.apply(u, self.rule, self.threshold)
        if isinstance(self.rule, rules.BPSTA):
            self.v = u * (1 - o.detach()) + self.rule.alpha * (o - o.detach())
        else:
            self.v = u * (1 - (o if _differentiates_reset(self.rule) else o.detach()))
        return o


def _differentiates_reset(rule: rules.Rule) -> bool:
    return isinstance(rule, rules.STBP) and not rule.detach_reset


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, u: Tensor, rule: rules.Rule, threshold: float) -> Tensor:
        o = (u >= threshold).to(u.dtype)
        ctx.save_for_backward(u, o)
        ctx.rule, ctx.threshold = rule, threshold
        return o

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        u, o = ctx.saved_tensors
        return grad * ctx.rule.spike_gradient(u, o, ctx.threshold), None, None


class Convolutions(Subject):
    """The layers with weights alone, each on its own input of 0 and 1, forward and backward.

    The first layer needs no gradient of its input, and sees an image that is the same at every step once.
    """

    def __init__(self, network: Network) -> None:
        plain = translated(network).to(memory_format=torch.channels_last)
        kept = OrderedDict((name, layer) for name, layer in plain.named_children() if hasattr(layer, "weight"))
        super().__init__(nn.ModuleDict({name: kept[name] for name in network.synapses()}))
        self.network = [network]  # asked for shapes alone, and none of this subject's modules
        self.data: list[tuple[Tensor, Tensor]] = []

    def prepare(self, x: Tensor) -> Tensor:
        """Draw each layer's input and the gradient of its output."""
        self.data = []
        for place, (shape_in, shape_out) in enumerate(shapes(self.network[0], x).values()):
            images = x.shape[1] * (1 if place == 0 and layers.is_constant(x) else x.shape[0])
            inputs = (torch.rand(images, *shape_in, device=x.device) < DENSITY).float()
            grad = torch.randn(images, *shape_out, device=x.device)
            self.data.append((_last(inputs).requires_grad_(place > 0), _last(grad)))
        return x

    def forward(self, x: Tensor) -> Tensor:  # noqa: ARG002
        """Forward, and backward where gradients are kept; no votes."""
        for layer, (inputs, grad) in zip(self.layers.children(), self.data, strict=True):
            y = layer(inputs)
            if torch.is_grad_enabled():
                wanted = [*layer.parameters(), *([inputs] if inputs.requires_grad else [])]
                torch.autograd.grad(y, wanted, grad.to(y.dtype))
        return torch.empty(0)


def translated(network: Network, neuron: Callable[[LIF], nn.Module] | None = None, kit: Any = nn) -> nn.Sequential:
    """The network's layers with its weights, made of another package's.

    Args:
        network: what is translated; its dropout is left out.
        neuron: makes the spiking layers; None leaves them out.
        kit: has Conv2d, BatchNorm2d, MaxPool2d, AvgPool2d, Flatten and Linear.

    Raises:
        SettingsError: a residual network, or one whose norm is not plain batch norm.
    """
    found = OrderedDict(
        (name, made)
        for name, layer in network.layers.named_children()
        if (made := _translated_layer(layer, neuron, kit)) is not None
    )
    plain = nn.Sequential(found)
    plain.load_state_dict(network.layers.state_dict())
    return plain.to(next(network.parameters()).device)


def _translated_layer(layer: nn.Module, neuron: Callable[[LIF], nn.Module] | None, kit: Any) -> nn.Module | None:
    made: nn.Module | None
    match layer:
        case layers.Conv():
            made = kit.Conv2d(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding)
        case FoldedNorm(gain=gain, weight=weight) if gain is weight:
            made = kit.BatchNorm2d(layer.num_features)
        case layers.MaxPool():
            made = kit.MaxPool2d(layer.kernel_size)
        case layers.AvgPool():
            made = kit.AvgPool2d(layer.kernel_size)
        case layers.Flatten():
            made = kit.Flatten()
        case layers.Linear():
            made = kit.Linear(layer.in_features, layer.out_features)
        case layers.ReLU() | layers.Voting():
            made = nn.ReLU() if isinstance(layer, layers.ReLU) else copy.deepcopy(layer)
        case LIF():
            made = neuron(layer) if neuron else None
        case NeuronDropout():
            made = None
        case _:
            raise no_plain_twin(type(layer).__name__)
    return made


def no_plain_twin(got: str) -> SettingsError:
    """The error of a network that cannot be translated."""
    return SettingsError(
        "a network without a plain twin",
        expected="a structure in the notation, with norm folded or per-step",
        got=got,
        todo="Choose small, middle or large.",
    )


def shapes(network: Network, x: Tensor) -> dict[str, tuple[torch.Size, torch.Size]]:
    """Shapes of one image before and after each layer with weights."""
    found: dict[str, tuple[torch.Size, torch.Size]] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda _layer, inputs, output: found.update({name: (inputs[0].shape[2:], output.shape[2:])})

    hooks = [layer.register_forward_hook(noting(name)) for name, layer in network.synapses().items()]
    training = network.training
    with torch.no_grad():
        network.eval().votes(x[:1, :1])
    network.train(training)
    for hook in hooks:
        hook.remove()
    return {name: found[name] for name in network.layers._modules if name in found}


def channels_last(x: Tensor) -> Tensor:
    """[T, B, C, H, W] in memory of its own, the channels of each image last."""
    return _last(x.flatten(0, 1)).view(x.shape)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def with_rule(network: Network, method: str, **options: Any) -> Network:
    """A copy of the network whose neurons follow another rule."""
    made = copy.deepcopy(network)
    for neuron in made.neurons().values():
        neuron.rule = rules.make(method, **options)
    return made
