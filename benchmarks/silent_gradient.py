"""What the silent gradient costs a training step, and that a step is as it was once the gradient is taken away again.

    python -m benchmarks.silent_gradient [FILE]

writes a table in Markdown to FILE, else prints it. A round has a step without, with and again without the silent
gradient, each with dense convolutions and with `auto`, on one network whose weights fire at about 0.1. A step is
forward, loss and backward. Ratios of processor time are taken within a round: median and quartiles.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.clock import ratio
from benchmarks.output import put
from benchmarks.weights import calibrate
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import library
from bpsta_cli.network import Network, build, losses
from bpsta_cli.provenance import device_name
from bpsta_cli.rules import SilentGradient

ROUNDS, WARM_UP = 5, 1
STEPS, BATCH, CLASSES = 8, 16, 10
EVENT_RATE = 0.05
"""Events that a pixel, polarity and step has, drawn by Poisson's law."""
TURNS = {"without": None, "with": SilentGradient(), "after": None}
"""The three steps of a round, and their silent gradient."""


class Load(NamedTuple):
    """A network, its rule and its input."""

    structure: str
    shape: tuple[int, int, int]
    events: bool
    rule: str

    def __str__(self) -> str:
        name = self.structure if len(self.structure) < 10 else "the demo's for synthetic-gestures"
        return f"{name}, {' x '.join(map(str, self.shape))}, {'events' if self.events else 'an image'} | `{self.rule}`"


LOADS = tuple(
    Load(*task, rule)
    for task in (
        ("middle", (3, 32, 32), False),
        ("middle", (3, 32, 32), True),
        ("16C3-MP2-32C3-MP2-64C3-AP2-10Voting", (2, 16, 16), True),
    )
    for rule in ("stbp", "bpsta")
)


def input_of(load: Load) -> Tensor:
    """[T, B, C, H, W]: an image that is the same at every step, or the counts of events of each."""
    if load.events:
        return torch.poisson(torch.full((STEPS, BATCH, *load.shape), EVENT_RATE))
    return torch.randn(1, BATCH, *load.shape).expand(STEPS, BATCH, *load.shape)


def seconds_of_step(network: Network, x: Tensor, labels: Tensor) -> float:
    """Processor time of forward, loss and backward."""
    network.zero_grad(set_to_none=True)
    began = time.process_time()
    losses.loss("mse", network.votes(x), labels).backward()  # type: ignore[no-untyped-call]
    return time.process_time() - began


def rounds(network: Network, x: Tensor, labels: Tensor) -> Iterator[dict[tuple[str, str], float]]:
    """Seconds of each kind of step, by convolution and turn."""
    for _ in range(WARM_UP + ROUNDS):
        found = {}
        for convolution in ("dense", "auto"):
            network.convolution = convolution
            for turn, silent in TURNS.items():
                for neurons in network.neurons().values():
                    neurons.silent = silent
                found[convolution, turn] = seconds_of_step(network, x, labels)
        yield found


def row(load: Load) -> str:
    """A line of the table."""
    torch.manual_seed(0)
    x, labels = input_of(load), torch.randint(CLASSES, (BATCH,))
    network = build(load.structure, load.shape, CLASSES, method=load.rule)
    found_rates = calibrate(network, x).values()
    measured = list(rounds(network, x, labels))[WARM_UP:]
    times = {kind: [one[kind] for one in measured] for kind in measured[0]}
    cells = [f"{min(found_rates):.2f} to {max(found_rates):.2f}"]
    cells.append(f"{1000 * sorted(times['auto', 'without'])[ROUNDS // 2]:.0f}")
    for kind in (("dense", "with"), ("auto", "with"), ("auto", "after")):
        median, q1, q3 = ratio(times[kind], times[kind[0], "without"])
        cells.append(f"{median:.2f} ({q1:.2f} to {q3:.2f})")
    return f"| {load} | {' | '.join(cells)} |"


def main() -> None:
    """Time all of them, and write."""
    torch.set_num_threads(1)
    assert dispatch.choose().name == "cpu", dispatch.choose().why
    lines = [
        f"{device_name('cpu')}, kernels for {library.isa()}, torch {torch.__version__}, 1 thread.",
        "",
        "| network, input | rule | firing rates | auto without, ms | dense: with | auto: with | auto: after |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for load in LOADS:
        lines.append(row(load))
        sys.stderr.write(lines[-1] + "\n")
    put(lines)


if __name__ == "__main__":
    main()
