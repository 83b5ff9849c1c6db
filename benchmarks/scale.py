"""One run over 1, 2 and 4 processes of this machine: the time of a step, what is exchanged in it, and memory.

    python -m benchmarks.scale [--rounds 3] [--steps 6] [--processes 1 --processes 2 ...]

Everything goes through the training loop itself, without a run directory: whole steps of an epoch over random images of
3 x 32 x 32, ten classes, T = 4, batch 48. Numbers of processes take turns in each round; the table has medians over
rounds. Memory is read from /proc/self/smaps: Rss is all pages that a process maps, Pss counts a page that n processes
share as an n-th. docs/scale.md has a run of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from bpsta_cli.config import RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import Images, Source
from bpsta_cli.data.store import build, open_store
from bpsta_cli.distributed import meeting
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.kernels.dispatch import choose
from bpsta_cli.training.epoch import Sums, make_learner, one_epoch
from bpsta_cli.training.monitor import monitoring
from bpsta_cli.training.run_network import network_of

CPU = torch.device("cpu")
SHAPE, CLASSES, STEPS, BATCH, IMAGES = (3, 32, 32), 10, 4, 48, 16384
NETWORKS = {
    "convolutions": "32C3-MP2-64C3-MP2-128C3-AP8-10Voting",
    "linear layers": "512FC-DP-512FC-DP-10Voting",
}
"""The second has little to compute for each weight: the worst case of an exchange."""
COLUMNS = (
    *("network", "processes", "a step", "processor time", "of a step in exchanges"),
    *("sent", "operations", "memory", "of it the store"),
)
"""Of each process, the mean over them; sent and operations in a step."""
WARM = 2
MEBI = 2**20


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each number of processes.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are timed in a turn.")] = 6,
    processes: Annotated[list[int] | None, typer.Option(min=1, help="Numbers of processes. (default: 1 2 4)")] = None,
    reduction: Annotated[str, typer.Option(help="shares or sums, as bpsta train --reduce.")] = "shares",
) -> None:
    """Print a table in Markdown."""
    choose()  # compiles the kernels
    numbers = processes or [1, 2, 4]
    found: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        _write_store(Path(folder) / "store")
        for _ in range(rounds):
            for name, structure in NETWORKS.items():
                for world in numbers:
                    found[name, world].append(_turn(world, structure, Path(folder), steps, reduction))
    typer.echo(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for (name, world), turns in found.items():
        median = {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        cells = [name, str(world), *(f"{1000 * median[key]:.0f} ms" for key in ("step", "processor"))]
        cells += [f"{100 * median['share']:.0f} %", f"{median['sent'] / 1e6:.2f} MB", f"{median['calls']:.0f}"]
        for of in ("", "store_"):
            cells.append(f"Rss {median[of + 'rss'] / MEBI:.0f}, Pss {median[of + 'pss'] / MEBI:.0f} MiB")
        typer.echo(f"| {' | '.join(cells)} |")


def _write_store(folder: Path) -> None:
    random = np.random.RandomState(0)
    x = random.randint(0, 256, (IMAGES, *SHAPE)).astype(np.uint8)
    y = (np.arange(IMAGES) % CLASSES).astype(np.int64)
    parts = {"train": Images(x, y), "test": Images(x[:BATCH], y[:BATCH])}
    row = catalogue.get("cifar10")
    build.build(folder, row, AppliedPreparation(), Source(folder, (), parts.__getitem__), lambda *_: None)


def _turn(world: int, structure: str, folder: Path, steps: int, reduction: str) -> dict[str, float]:
    """What processes that are forked for it measure, the mean over them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "LOCAL_WORLD_SIZE": str(world)}
                with meeting.met(CPU, reduction, compiled=True) as ranks:
                    measured = _measured(structure, folder, steps, ranks)
                (folder / f"measured-{rank}").write_text(json.dumps(measured))
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    ends = [os.waitpid(child, 0)[1] for child in children]
    if any(ends):
        raise SystemExit(f"a process of {world} failed")
    all_of_them = [json.loads((folder / f"measured-{rank}").read_text()) for rank in range(world)]
    return {key: statistics.mean(each[key] for each in all_of_them) for key in all_of_them[0]}


def _measured(structure: str, folder: Path, steps: int, ranks: Ranks | None) -> dict[str, float]:
    store = open_store(folder / "store")
    data = {"network": structure, "epochs": 1, "warmup_epochs": 0, "batch_size": BATCH, "augmentation": "standard"}
    settings = RunSettings.model_validate(
        {"dataset": "cifar10", "T": STEPS, "data": data, "training": {"warmup": "none"}}
    )
    torch.manual_seed(0)
    network = network_of(settings, SHAPE, CLASSES)
    learner = make_learner(network, settings, CPU, SHAPE, ranks)
    times: list[float] = []
    exchanged: list[float] = []
    sent = calls = 0.0
    processor = 0.0
    with monitoring(network, ranks=ranks) as monitor:
        events = one_epoch(learner, monitor, store, store.split("train"), 0, Sums())
        for step in range(WARM + steps):
            traffic = dict(vars(ranks.traffic)) if ranks else {"seconds": 0.0, "bytes": 0, "calls": 0}
            began, worked = time.perf_counter(), time.process_time()
            next(events)
            if step >= WARM:
                processor += (time.process_time() - worked) / steps
                times.append(time.perf_counter() - began)
                after = vars(ranks.traffic) if ranks else traffic
                exchanged.append((after["seconds"] - traffic["seconds"]) / times[-1])
                sent, calls = after["bytes"] - traffic["bytes"], after["calls"] - traffic["calls"]
        with contextlib.closing(events):
            split = store.split("train")
            np.asarray(split.x).sum(dtype=np.int64)  # every page of the store is read
        if ranks is not None:
            ranks.wait()
        memory = _memory(re.compile(re.escape(str(folder / "store"))).search)
        if ranks is not None:
            ranks.wait()  # all are there while memory is read
    return {
        "step": statistics.median(times),
        "processor": processor,
        "share": statistics.median(exchanged),
        "sent": sent,
        "calls": calls,
        **memory,
    }


def _memory(of_store: Callable[[str], Any]) -> dict[str, float]:
    """Rss and Pss of this process, and of what it maps of the store, in bytes."""
    found = dict.fromkeys(("rss", "pss", "store_rss", "store_pss"), 0.0)
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            inside = bool(of_store(line))
        elif first in ("Rss:", "Pss:"):
            key = first[:-1].lower()
            found[key] += int(rest[0]) * 1024
            if inside:
                found[f"store_{key}"] += int(rest[0]) * 1024
    return found


if __name__ == "__main__":
    typer.run(main)
