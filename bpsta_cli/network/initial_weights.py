"""The weights before the first epoch."""

import math

import numpy as np
import torch

from bpsta_cli.network.network import Network
from bpsta_cli.random_numbers import Stream


@torch.no_grad()
def draw_weights(network: Network, seed: int) -> None:
    """Draw the weights and biases of convolutions and linear layers; those of norms stay as they are.

    The distribution is the one torch begins with: uniform from -1 / sqrt(n) to 1 / sqrt(n) for n inputs of an output
    (He et al. 2015, arXiv:1502.01852, with the gain of a leaky ReLU of slope sqrt(5)). The numbers are
    `random_numbers`, by the seed and the layer's name.

    Args:
        network: a network of any structure.
        seed: the run's seed.
    """
    for name, layer in network.synapses().items():
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for part, parameter in layer.named_parameters(recurse=False):
            fractions = Stream("weights", seed, name, part).uniform(*parameter.shape)
            values = ((2 * fractions - 1) * bound).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
