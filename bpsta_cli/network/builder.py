"""Builds networks from structures: a residual network by its name, any other from the paper's notation."""

import math

import torch
from torch import nn

from bpsta_cli import rules
from bpsta_cli.errors import StructureError
from bpsta_cli.network import notation, resnet, sequential
from bpsta_cli.network.budget import Budget
from bpsta_cli.network.fusion import link_presynaptic
from bpsta_cli.network.layers import output_layer
from bpsta_cli.network.network import Network
from bpsta_cli.network.neurons import LIF
from bpsta_cli.network.norms import make_norm

VOTERS = 10
"""Output neurons for each class of a residual network: the 10Voting of the paper's own structures."""


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
        norm: "folded", "tdbn", "per-step" or "none" (`bpsta_cli.network.norms`).
        dropout: probability of DP tokens.
        backend: of the neuron's kernel.
        rule_settings: settings of a rule given by name, such as alpha=0.2.

    Raises:
        StructureError: a token that cannot be read or does not fit its input.
        SettingsError: an unknown method, norm or backend, a constant out of range, or a setting that is not the rule's.
    """
    rule = rules.make("bpsta" if method == rules.TWIN else method, **rule_settings)
    _check_shape(input_shape)
    if classes < 1:
        raise StructureError("no classes", expected="at least 1", got=str(classes), todo="Give the data set's number.")

    def neuron() -> nn.Module:
        return LIF(rule, threshold, decay, backend=backend)

    def norm_of(channels: int) -> nn.Module:
        return make_norm(norm, channels, threshold=threshold)

    if structure in notation.RESIDUAL:
        Budget().take(VOTERS * classes * (resnet.FILTERS[-1] + 1), f"{classes:,} classes")
        layers = resnet.trunk(input_shape, notation.RESIDUAL[structure], neuron, norm_of)
        layers["output"] = nn.Sequential(output_layer(resnet.FILTERS[-1], classes, VOTERS, neuron))
    else:
        tokens = notation.parse(structure, inputs=math.prod(input_shape), classes=classes)
        layers = sequential.sequence(tokens, input_shape, classes, neuron, norm_of, dropout)
    network = Network(layers, spiking=method != rules.TWIN)
    link_presynaptic(network)
    # the convolutions' outputs then have their channels last too, which is how the kernel of a block reads images
    return network.to(memory_format=torch.channels_last)


def _check_shape(shape: tuple[int, int, int]) -> None:
    if min(shape) < 1:
        raise StructureError(
            "the image is too small for the structure",
            expected="an input of at least 1 channel and 1 x 1 pixels",
            got=" x ".join(map(str, shape)),
            todo="Give the (C, H, W) of one time step.",
        )
