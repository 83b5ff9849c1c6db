"""Each kind of convolution by itself: this package's beside torch's (oneDNN), forward and both gradients.

    python -m benchmarks.convolutions [FILE]

writes a table in Markdown to FILE, else prints it. Both take turns in one thread, and a ratio is taken within a round:
median and quartiles of torch's processor time over this package's, so that above 1 this package is the faster.
Processor time is disturbed less by other work on the machine than the clock. Packing the weights counts.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.clock import ratio
from benchmarks.output import put
from bpsta_cli import kernels
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import library
from bpsta_cli.network.layers import Conv
from bpsta_cli.provenance import device_name

ROUNDS, WARM_UP = 9, 2


class Layer(NamedTuple):
    """A convolution and its input."""

    channels: int
    filters: int
    side: int
    images: int
    kernel: int = 3
    stride: int = 1

    def __str__(self) -> str:
        stride = f", stride {self.stride}" if self.stride > 1 else ""
        sizes = f"{self.side} x {self.side}, {self.images} images, {self.kernel} x {self.kernel}"
        return f"{self.channels} -> {self.filters}, {sizes}{stride}"


LAYERS = (
    Layer(128, 128, 16, 64),
    Layer(128, 256, 8, 128),
    Layer(256, 512, 4, 128),
    Layer(128, 128, 32, 16),
    Layer(16, 32, 14, 128),
    Layer(32, 64, 8, 128),
    Layer(1, 16, 28, 128),
    Layer(3, 128, 32, 16),
    Layer(2, 32, 32, 64, kernel=5),
    Layer(32, 64, 14, 64, kernel=5),
    Layer(64, 128, 16, 64, stride=2),
    Layer(64, 128, 16, 64, kernel=1, stride=2),
    Layer(12544, 2048, 1, 128, kernel=1),
    Layer(512, 100, 1, 128, kernel=1),
)


def works(layer: Layer) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """For each part of a training step this package's and torch's, to be timed before the next part is asked for."""
    torch.manual_seed(0)
    conv = Conv(layer.channels, layer.filters, layer.kernel, stride=layer.stride, padding=layer.kernel // 2)
    shape = (layer.images, layer.channels, layer.side, layer.side)
    x = (torch.rand(shape) < 0.3).float().contiguous(memory_format=torch.channels_last)

    def own() -> Tensor:
        return kernels.conv(conv, x, batch=min(16, layer.images), convolution="dense").images

    def torchs() -> Tensor:
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, conv.padding)

    conv.requires_grad_(False)
    grad = torch.randn(own().shape).contiguous(memory_format=torch.channels_last)
    conv.requires_grad_(True)
    yield own, torchs
    for leaf in (x, conv.weight):
        for other in (x, *conv.parameters()):  # what is not asked for is not computed
            other.requires_grad_(other is leaf)
        of_own, of_torchs = (
            lambda y=y, leaf=leaf: torch.autograd.grad(y, leaf, grad, retain_graph=True) for y in (own(), torchs())
        )
        yield of_own, of_torchs


def ratios(pair: tuple[Callable[[], object], Callable[[], object]]) -> str:
    """Median and quartiles of the second's time over the first's."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(WARM_UP + ROUNDS):
        for work, of_work in zip(pair, times, strict=True):
            began = time.process_time()
            work()
            of_work.append(time.process_time() - began)
    median, q1, q3 = ratio(times[1][WARM_UP:], times[0][WARM_UP:])
    return f"{median:.2f} ({q1:.2f} to {q3:.2f})"


def main() -> None:
    """Time all of them, and write."""
    torch.set_num_threads(1)
    lines = [
        f"{device_name('cpu')}, kernels for {library.isa()}, torch {torch.__version__}, 1 thread.",
        "",
        "| layer | forward | input's gradient | weights' gradient |",
        "|---|---:|---:|---:|",
    ]
    assert dispatch.choose().name == "cpu", dispatch.choose().why
    for layer in LAYERS:
        lines.append(f"| {layer} | {' | '.join(ratios(pair) for pair in works(layer))} |")
        sys.stderr.write(lines[-1] + "\n")
    put(lines)


if __name__ == "__main__":
    main()
