"""BPSTA in a SpikingJelly model: their layers, our neuron, all time steps in a call.

It needs SpikingJelly (`pip install spikingjelly`), and runs so:

    python examples/spikingjelly_model.py
"""

import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer
from torch import nn

from bpsta_cli import LIF
from bpsta_cli.rules import SilentGradient

T, BATCH = 4, 60


def model(rule: str) -> nn.Module:
    """Two layers for 8 x 8 images, [T, B, 1, 8, 8] -> [T, B, 10]."""
    network = nn.Sequential(
        layer.Conv2d(1, 8, 3, padding=1, bias=False),
        layer.BatchNorm2d(8),
        LIF(rule),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(8 * 4 * 4, 100),
        LIF(rule),
        layer.VotingLayer(10),
    )
    for neuron in (network[2], network[6]):
        neuron.silent = SilentGradient()  # or neurons that do not fire would learn nothing under bpsa and bpsta
    functional.set_step_mode(network, "m")  # LIF has this mode already
    return network


def main() -> None:
    """Train two epochs on scikit-learn's digits with each rule, and print the test accuracy."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    for rule in ("stbp", "bpsa", "bpsta"):
        torch.manual_seed(0)
        network = model(rule)
        optimiser = torch.optim.Adam(network.parameters(), lr=0.005)
        for start in (*range(0, 1200, BATCH), *range(0, 1200, BATCH)):
            x = images[start : start + BATCH].expand(T, -1, -1, -1, -1)
            loss = nn.functional.mse_loss(
                network(x).mean(0), nn.functional.one_hot(labels[start : start + BATCH], 10).float()
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        network.eval()
        with torch.no_grad():
            rates = network(images[1200:].expand(T, -1, -1, -1, -1)).mean(0)
        print(f"{rule:<5}: test accuracy {(rates.argmax(1) == labels[1200:]).float().mean():.2%}")


if __name__ == "__main__":
    main()
