"""BPSTA in a snnTorch model: their encoding and loss, our neuron, a loop over time of one's own.

It needs snnTorch (`pip install snntorch`), and runs so:

    python examples/snntorch_model.py
"""

import torch
from sklearn.datasets import load_digits
from snntorch import functional, spikegen
from torch import Tensor, nn

from bpsta_cli import LIF
from bpsta_cli.rules import SilentGradient

T, BATCH = 8, 60


class Model(nn.Module):
    """Two layers of neurons, run step by step: [T, B, 64] -> spikes [T, B, 10]."""

    def __init__(self, rule: str) -> None:
        super().__init__()
        self.hidden, self.output = nn.Linear(64, 64), nn.Linear(64, 10)
        self.neurons = nn.ModuleList(LIF(rule, step_mode="s") for _ in range(2))
        for neuron in self.neurons:
            neuron.silent = SilentGradient()  # or neurons that do not fire would learn nothing under bpsa and bpsta

    def forward(self, x: Tensor) -> Tensor:
        """Spikes of the output."""
        for neuron in self.neurons:
            neuron.reset()  # another batch: every potential starts from 0
        spikes = []
        for step in x:
            hidden = self.neurons[0](self.hidden(step))
            spikes.append(self.neurons[1](self.output(hidden)))
        return torch.stack(spikes)


def main() -> None:
    """Train two epochs on scikit-learn's digits with each rule, and print the test accuracy."""
    digits = load_digits()
    images, labels = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    loss_of = functional.mse_count_loss(correct_rate=0.8, incorrect_rate=0.1)
    for rule in ("stbp", "bpsa", "bpsta"):
        torch.manual_seed(0)
        model = Model(rule)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.005)
        for start in (*range(0, 1200, BATCH), *range(0, 1200, BATCH)):
            x = spikegen.rate(images[start : start + BATCH], num_steps=T)
            loss = loss_of(model(x), labels[start : start + BATCH])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            spikes = model(spikegen.rate(images[1200:], num_steps=T))
        print(f"{rule:<5}: test accuracy {functional.accuracy_rate(spikes, labels[1200:]):.2%}")


if __name__ == "__main__":
    main()
