"""A benchmark of seconds, the same as options, and a network with something wrong about it."""

import torch

from benchmarks.settings import Settings
from benchmarks.subjects import Project, with_rule

CPU = torch.device("cpu")
TINY = Settings(
    network="4C3-MP2-5C3-AP4-2Voting",
    shape=(2, 8, 8),
    classes=3,
    batch=3,
    T=(2, 3),
    rounds=1,
    threads=1,
    neuron_mb=(1,),
)
OPTIONS = ["--network", TINY.network, "--input", "2x8x8", "--batch", "3", "--rounds", "1", "--threads", "1"]


def quiet(*_):
    """Told of progress, and nothing done."""


class Wrong(Project):
    """A network of this package with something wrong about it."""

    def __init__(self, network, wrong):
        super().__init__(with_rule(network, "bpsta"))
        self.wrong = wrong
        if wrong == "decay":
            self.neuron = next(layer for layer in self.layers.modules() if hasattr(layer, "decay"))
            self.neuron.decay = 0.89

    def forward(self, x):
        votes = super().forward(x)
        if self.wrong == "gradient" and self.training:
            self.layers.conv1.weight.register_hook(lambda grad: grad * 1.01)
        if self.wrong == "nan gradient" and self.training:
            self.layers.norm2.bias.register_hook(lambda grad: grad * float("nan"))
        if self.wrong == "votes":
            votes = votes + 0.01
        if self.wrong == "evaluation" and not self.training:
            votes = votes * 1.01
        if self.wrong == "nan" and self.training:
            votes = votes * float("nan")
        return votes
