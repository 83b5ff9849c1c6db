"""Networks whose neurons fire and whose norms do something, and samples for them: nothing is trained."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bpsta_cli.data.store import Split
from bpsta_cli.network import build, resnet
from bpsta_cli.network.norms import FoldedNorm, NoNorm


@pytest.fixture
def lively():
    """Build a network in which every layer fires."""

    def make(structure, shape=(1, 8, 8), classes=4, **options):
        network = build(structure, shape, classes, **options).eval()
        draw = torch.Generator().manual_seed(3)
        for norm in network.modules():
            if isinstance(norm, FoldedNorm) and not isinstance(norm, NoNorm):
                norm.running_mean.copy_(torch.rand(norm.num_features, generator=draw) * 0.2 - 0.1)
                norm.running_var.copy_(torch.rand(norm.num_features, generator=draw) * 0.2 + 0.05)
                norm.weight.data.copy_(torch.rand(norm.num_features, generator=draw) + 0.5)
                norm.bias.data.copy_(torch.rand(norm.num_features, generator=draw) * 0.6)
        for layer in network.synapses().values():
            layer.weight.data *= 3
        return network

    return make


@pytest.fixture
def few_filters(monkeypatch):
    """Residual networks of few filters."""
    monkeypatch.setattr(resnet, "FILTERS", (3, 4, 5, 6))


@pytest.fixture
def samples():
    """Stores of random test samples: images, or frames of so many steps."""

    def make(shape=(1, 8, 8), steps=None, classes=4, count=12):
        draw = np.random.default_rng(5)
        axes = shape if steps is None else (steps, *shape)
        split = Split(draw.integers(0, 5, (count, *axes), dtype=np.uint8), draw.integers(0, classes, count))
        names = tuple(map(str, range(classes)))
        return SimpleNamespace(split=lambda _: split, scale=0.25, T=steps, shape=shape, classes=names, content_hash="0")

    return make
