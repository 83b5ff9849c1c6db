"""Networks and stores that several tests of the accounts share."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from small_stores import write_store

from bpsta_cli.data.store import Split
from bpsta_cli.network import build


def memory_store(x, classes=2):
    """A store of test samples that are in memory: images [N, C, H, W] or frames of events [N, T, C, H, W]."""
    split = Split(x, np.zeros(len(x), dtype=np.int64))
    names = tuple(map(str, range(classes)))
    return SimpleNamespace(path=Path("none"), classes=names, scale=1.0, shape=x.shape[-3:], split=lambda _name: split)


def by_hand(folder):
    """Two convolutions and an output on 3 x 3 images with one grey pixel in a corner, and the images.

    At every step channel 0 of 2 fires everywhere after the first, channel 2 of 3 after the second, and none of the
    2 outputs: the norms' biases say so, for their weights are 0.
    """
    x = np.zeros((2, 1, 3, 3), dtype=np.uint8)
    x[:, 0, 0, 0] = 8
    store = write_store(folder / "store", x, np.array([0, 1]), train=1, classes=2)
    network = build("2C3-3C3-1Voting", (1, 3, 3), 2, norm="folded").eval()
    layers = network.layers
    with torch.no_grad():
        for norm, firing in ((layers.norm1, 0), (layers.norm2, 2)):
            norm.weight.zero_()
            norm.bias.zero_()
            norm.bias[firing] = 1
        layers.linear1.weight.fill_(-1)
        layers.linear1.bias.zero_()
    return network, store


def synapses_of(x, layer):
    """Synapses that the non-zero values of x [N, C, H, W] reach, one by one."""
    (pad_y, pad_x), (step_y, step_x), (tall, wide) = layer.padding, layer.stride, layer.kernel_size
    _, _, height, width = x.shape
    high, broad = (height + 2 * pad_y - tall) // step_y + 1, (width + 2 * pad_x - wide) // step_x + 1
    reached = 0
    for out_y, out_x, k_y, k_x in itertools.product(range(high), range(broad), range(tall), range(wide)):
        row, column = out_y * step_y + k_y - pad_y, out_x * step_x + k_x - pad_x
        if 0 <= row < height and 0 <= column < width:
            reached += np.count_nonzero(x[:, :, row, column]) * layer.out_channels
    return reached
