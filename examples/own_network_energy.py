"""The energy of a network of one's own, made of this package's layers in whatever way.

It is untrained here: what is counted are its spikes on scikit-learn's digits.

    python examples/own_network_energy.py
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from bpsta_cli import LIF, training
from bpsta_cli.energy import account
from bpsta_cli.network import Network
from bpsta_cli.network.layers import AvgPool, Conv, Flatten, Linear, ReLU, Voting
from bpsta_cli.network.norms import FoldedNorm

T = 4


class Widened(nn.Module):
    """Spikes beside what a convolution makes of them: no structure of the notation has that."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.norm = Conv(channels, channels, 3, padding=1, bias=False), FoldedNorm(channels)
        self.relu, self.lif = ReLU(), LIF("bpsa")

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> [T, B, 2 C, H, W]."""
        return torch.cat([x, self.lif(self.relu(self.norm(self.conv(x))))], dim=2)


def network() -> Network:
    """For 8 x 8 images of ten classes. Layers stand in the order in which they run; the energy account relies on it."""
    layers = OrderedDict[str, nn.Module](
        conv=Conv(1, 8, 3, padding=1),
        relu=ReLU(),
        lif=LIF("bpsa"),
        widened=Widened(8),
        pool=AvgPool(4),
        flatten=Flatten(),
        linear=Linear(64, 100),
        output=LIF("bpsa"),
        voting=Voting(10),
    )
    return Network(layers, spiking=True)


def main() -> None:
    """Count what the network does on scikit-learn's digits, and print energy by layer."""
    torch.manual_seed(0)
    data = training.data(training.settings("digits"))
    found = account(network().eval(), data, T=T, device=torch.device("cpu"), samples=100)
    for layer in found["layers"]:
        print(f"{layer['layer']:<14} {layer['e_pj'] / 1000:8.2f} nJ, firing rate {layer['firing_rate']:.3f}")
    counted = found["counted"]
    print(f"SNN {counted['e_snn_pj'] / 1000:.2f} nJ a sample, its ReLU twin {counted['e_ann_pj'] / 1000:.2f} nJ")


if __name__ == "__main__":
    main()
