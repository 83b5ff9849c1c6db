"""A training step on a GPU: the Triton kernels, with and without the silent gradient, beside torch's own operations.

    python -m benchmarks.gpu_step [FILE]

writes a table in Markdown to FILE, else prints it: medians and quartiles of a step (forward, loss, backward) of one
network with one input. "eager" is the reference backend, a loop over T in torch's elementwise operations. SpikingJelly,
where it is installed, has the same weights and its own polynomial surrogate. All take turns, and the last column is the
median of the ratios within a turn.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from benchmarks import peers
from benchmarks.clock import in_turns, ratio, spread
from benchmarks.output import put
from benchmarks.weights import calibrate
from bpsta_cli import rules
from bpsta_cli.devices import resolve_device
from bpsta_cli.network import Network, build, losses
from bpsta_cli.provenance import device_name

STRUCTURE, SHAPE, CLASSES, STEPS, BATCH = "middle", (3, 32, 32), 10, 8, 64
ROUNDS = 15
BASE = "stbp"
"""What the last column divides by."""

Step = Callable[[], object]


def steps(network: Network, x: Tensor, labels: Tensor) -> Iterator[tuple[str, Step]]:
    """Every contestant's name and its training step; all have the weights of `network`."""
    for rule in (BASE, "bpsa"):
        yield rule, _step(_network(network, rule, None, "auto"), x, labels)
        yield f"{rule}, silent gradient", _step(_network(network, rule, rules.SilentGradient(), "auto"), x, labels)
        yield f"{rule}, eager", _step(_network(network, rule, None, "reference"), x, labels)
    for variant in peers.variants():
        if variant.package == "spikingjelly" and not peers.absence(variant.package):
            peer = variant.make(copy.deepcopy(network)).to(x.device).train()
            yield variant.name, _step(peer, peer.prepare(x), labels)


def _network(network: Network, rule: str, silent: rules.SilentGradient | None, backend: str) -> Network:
    made = copy.deepcopy(network)
    for neuron in made.neurons().values():
        neuron.rule, neuron.silent, neuron.backend = rules.make(rule), silent, backend
    return made


def _step(subject: torch.nn.Module, x: Tensor, labels: Tensor) -> Step:
    votes = subject.votes if isinstance(subject, Network) else subject

    def run() -> None:
        subject.zero_grad(set_to_none=True)
        losses.loss("mse", votes(x), labels).backward()  # type: ignore[no-untyped-call]

    return run


def table(device: torch.device, *, structure: str = STRUCTURE, batch: int = BATCH, rounds: int = ROUNDS) -> list[str]:
    """The lines of the table, of times in milliseconds."""
    torch.manual_seed(0)
    network = build(structure, SHAPE, CLASSES, dropout=0.0).to(device)
    x = torch.rand(STEPS, batch, *SHAPE, device=device)
    labels = torch.randint(CLASSES, (batch,), device=device)
    calibrate(network, x[:, :4])
    times = in_turns(
        dict(steps(network.train(), x, labels)), rounds=rounds, device=device, on_progress=lambda _done, _of: None
    )
    lines = [f"| step | median, ms | quartiles | of {BASE} |", "|---|---:|---:|---:|"]
    for name, own in times.items():
        median, q1, q3 = spread(own)
        lines.append(f"| {name} | {median:.2f} | {q1:.2f} to {q3:.2f} | {ratio(own, times[BASE]).median:.2f} |")
    return lines


def main() -> None:
    """Time all of them on the GPU, and write."""
    head = (
        f"{device_name('cuda')}, torch {torch.__version__}, {STRUCTURE} at {' x '.join(map(str, SHAPE))}, T = {STEPS}, "
        f"batch {BATCH}, another image at every step, float32 (TF32 in convolutions: "
        f"{'yes' if torch.backends.cudnn.allow_tf32 else 'no'})."
    )
    put([head, "", *table(resolve_device("cuda"))])


if __name__ == "__main__":
    main()
