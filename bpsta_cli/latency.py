"""Accuracy over time steps, and the time a decision takes on the clock."""

import time
from typing import Any

import torch

from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Store
from bpsta_cli.errors import RunError
from bpsta_cli.evaluation import OnBatch, batches, sample_count, so_far
from bpsta_cli.networks import Network


@torch.no_grad()
def accuracy_over_time(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, Any]:
    """Accuracy of the votes so far after t = 1..T steps of the same forward pass.

    Returns:
        accuracy_at, step (as text) -> fraction, and samples.

    Raises:
        RunError: the network is a ReLU twin and has no time steps.
        DataError: the test part is empty.
    """
    if not network.spiking:
        raise RunError(
            "a run without time steps",
            expected="a run of a spiking method",
            got="a run of ann, the ReLU twin",
            todo="Give a run of stbp, bpsa or bpsta.",
        )
    network.eval()
    test = store.split("test")
    total = sample_count(store, test, samples)
    correct, seen = torch.zeros(T, dtype=torch.int64), 0
    for x, labels in batches(store, test, T, device=device, samples=samples):
        correct += (so_far(network.votes(x)).argmax(-1) == labels).sum(1).cpu()
        seen += len(labels)
        if on_batch:
            on_batch(seen, total)
    return {"accuracy_at": {str(t + 1): correct[t].item() / seen for t in range(T)}, "samples": seen, "T": T}


@torch.no_grad()
def time_per_sample(
    network: Network,
    store: Store,
    *,
    T: int,
    device: torch.device,
    repeats: int = 100,
    warm_up: int = 10,
    on_decision: OnBatch | None = None,
) -> dict[str, Any]:
    """Wall-clock time of one decision at batch 1, frames already in memory.

    Args:
        network: to be timed.
        store: prepared data; its test samples are taken in turn.
        T: time steps.
        device: where to compute; a GPU is synchronised around each decision.
        repeats: timed decisions.
        warm_up: decisions before those, not timed.
        on_decision: told, outside of the timed part, how many decisions are done, of how many.

    Returns:
        p50_ms, p95_ms (milliseconds), repeats, batch, threads, device.

    Raises:
        DataError: the test part is empty.
    """
    network.eval()
    test = store.split("test")
    count, seconds = sample_count(store, test), []
    for turn in range(warm_up + repeats):
        at = turn % count
        x = to_input(test.x[at : at + 1], T=T, scale=store.scale, device=device)
        _synchronise(device)
        began = time.perf_counter()
        network(x)
        _synchronise(device)
        if turn >= warm_up:
            seconds.append(time.perf_counter() - began)
        if on_decision:
            on_decision(turn + 1, warm_up + repeats)
    p50, p95 = torch.tensor(seconds).mul(1000).quantile(torch.tensor([0.5, 0.95])).tolist()
    return {
        "p50_ms": p50,
        "p95_ms": p95,
        "repeats": repeats,
        "batch": 1,
        "threads": torch.get_num_threads(),
        "device": device.type,
    }


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
