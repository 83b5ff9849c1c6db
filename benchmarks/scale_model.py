"""What a step over many GPUs would exchange and cost: a model of bytes, operations and assumed links; nothing is run.

    python -m benchmarks.scale_model

Each GPU has the same number of samples whatever their number, so that the batch grows with them. A step is its
computation plus its exchanges, none of them behind the computation, as the package exchanges them:

- one sum of all gradients, which sends 2 (N - 1) / N of their bytes from each GPU (a ring);
- operations that are small or begin others, each of which costs a delay: three a norm (its origin, its sums forward
  and backward), and four more (votes, gradients, what the monitor counts, whether to stop).
"""

from __future__ import annotations

import math

from benchmarks.output import put
from bpsta_cli.distributed.division import SAMPLE_SHARES
from bpsta_cli.network import build
from bpsta_cli.network.norms import FoldedNorm

GPUS = (1, 8, 64, 256)
NODE = 8
"""GPUs of a machine."""
NODE_BYTES = 300e9
"""Bytes a second from a GPU to others of its machine. Assumed: two thirds of the 450 GB/s each way of NVLink 4
(NVIDIA's H100 data sheet: 900 GB/s both ways)."""
NETWORK_BYTES = 40e9
"""The same between machines. Assumed: 80 % of one port of 400 Gbit/s a GPU."""
NODE_DELAY, HOP_DELAY = 20e-6, 10e-6
"""Seconds of a small exchange within a machine, and more for each doubling of machines. Assumed."""
OTHERS = 4
"""Operations of a step that are no norm's."""
VALUE_BYTES = 4
SHAPE, CLASSES = (3, 32, 32), 10
STEP_SECONDS = {"middle": 14.84e-3, "resnet34": None}
"""A step of 64 samples, T = 8, on one H200: `stbp` in benchmarks/results/gpu_step.md; None: not measured."""


def sent(gradient_bytes: float, gpus: int) -> float:
    """Bytes that each GPU sends in a sum of all gradients as they come."""
    return 2 * gradient_bytes * (gpus - 1) / gpus


def sent_as_shares(gradient_bytes: float, processes: int) -> float:
    """The same where shares are added in their order: to each process its part of them, and the sums back."""
    return (SAMPLE_SHARES / processes + 1) * gradient_bytes * (processes - 1) / processes


def exchange_seconds(gradient_bytes: float, norms: int, gpus: int) -> tuple[float, float]:
    """Of the gradients, and of the small exchanges."""
    if gpus == 1:
        return 0.0, 0.0
    machines = math.ceil(gpus / NODE)
    delay = NODE_DELAY + HOP_DELAY * math.log2(machines)
    speed = NODE_BYTES if machines == 1 else NETWORK_BYTES
    return sent(gradient_bytes, gpus) / speed, (3 * norms + OTHERS) * delay


def lines() -> list[str]:
    """The two tables in Markdown."""
    found = [
        "| network | GPUs | sent by each a step | gradients | small exchanges | step | efficiency |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, seconds in STEP_SECONDS.items():
        network = build(name, SHAPE, CLASSES)
        size = VALUE_BYTES * sum(weight.numel() for weight in network.parameters())
        norms = sum(isinstance(layer, FoldedNorm) for layer in network.modules())
        for gpus in GPUS:
            gradients, small = exchange_seconds(size, norms, gpus)
            whole = "not measured" if seconds is None else f"{1e3 * (seconds + gradients + small):.1f} ms"
            efficiency = "" if seconds is None else f"{100 * seconds / (seconds + gradients + small):.0f} %"
            found.append(
                f"| {name} ({size / 1e6:.1f} MB, {norms} norms) | {gpus} | {sent(size, gpus) / 1e6:.1f} MB | "
                f"{1e3 * gradients:.2f} ms | {1e3 * small:.2f} ms | {whole} | {efficiency} |"
            )
    found += ["", "| processes | sent as shares | sent as sums | ratio |", "|---|---|---|---|"]
    for processes in (2, 3, 4, 6, 12):
        shares, sums = sent_as_shares(1, processes), sent(1, processes)
        found.append(f"| {processes} | {shares:.2f} | {sums:.2f} | {shares / sums:.2f} |")
    return found


if __name__ == "__main__":
    put(lines())
