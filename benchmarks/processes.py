"""What takes a process of its own: peak memory of each variant, and what the first use costs.

`python -m benchmarks.processes WHAT SETTINGS` does one of them and prints JSON.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.settings import Settings
from bpsta_cli.errors import RunError

OnProgress = Callable[[int, int], None]
ROOT = Path(__file__).parent.parent
STEPS = 2
"""Training steps of which the peak is taken."""
MIB = 2**20
CACHES = ("BPSTA_CACHE", "TRITON_CACHE_DIR")
"""Folders of compiled kernels."""


def memory(settings: Settings, names: Iterable[str], on_progress: OnProgress) -> list[dict[str, Any]]:
    """Peak memory of training steps, MiB, over T and kinds of input.

    On the CPU: the highest resident memory of the process during `STEPS` training steps, less what it held with
    libraries, weights and input ready. That has all in it: torch's tensors, workspaces, what the allocator keeps.
    On a GPU: the same of torch's allocated memory.
    """
    rows: list[dict[str, Any]] = []
    cases = [(kind, T, name) for kind in settings.inputs for T in settings.T for name in names]
    for done, (kind, T, name) in enumerate(cases, start=1):
        found = _child("memory", settings, T=[T], inputs=[kind], only=[name])
        rows.append(
            {"measure": "memory", "input": kind, "T": T, "variant": name, "unit": "MiB", "median": found["mib"]}
        )
        on_progress(done, len(cases))
    return rows


def first_use(settings: Settings, on_progress: OnProgress) -> list[dict[str, Any]]:
    """Seconds until the first training step is done, torch already imported: with no compiled kernels, and with."""
    from benchmarks.clock import spread  # with torch, which a child imports by itself

    seconds: dict[str, list[float]] = {"cold": [], "warm": []}
    for done in range(settings.rounds):
        with tempfile.TemporaryDirectory() as folder:
            caches = dict.fromkeys(CACHES, folder)
            for found in seconds.values():
                found.append(_child("first-use", settings, caches, T=[min(settings.T)])["seconds"])
        on_progress(done + 1, settings.rounds)
    rest = [cold - warm for cold, warm in zip(*seconds.values(), strict=True)]
    named = {"empty cache": seconds["cold"], "kernels built": seconds["warm"], "building": rest}
    return [
        {"measure": "first-use", "variant": name, "unit": "s", **spread(values)._asdict()}
        for name, values in named.items()
    ]


def _child(what: str, settings: Settings, environment: dict[str, str] | None = None, **changed: Any) -> dict[str, Any]:
    asked = settings.changed(**changed).model_dump_json()
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "benchmarks.processes", what, asked],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path, **(environment or {})},
    )
    if done.returncode:
        raise RunError(
            f"a process that measured {what} failed",
            expected="exit status 0",
            got=(done.stderr.strip() or f"status {done.returncode}").splitlines()[-1],
            todo=f"Leave it out with --measures, or run it by itself: python -m benchmarks.processes {what} '{asked}'",
        )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measured_memory(settings: Settings) -> dict[str, float]:
    import torch

    from benchmarks.measuring import Workload
    from benchmarks.variants import chosen

    device = torch.device(settings.device)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    (variant,) = chosen(settings).variants
    tiny = settings.changed(batch=2, T=(2,))
    Workload(tiny, 2, settings.inputs[0], device).step(variant)()  # libraries make themselves ready
    step = Workload(settings, settings.T[0], settings.inputs[0], device).step(variant)
    gc.collect()
    before, peak = _gpu_memory() if device.type == "cuda" else _resident()
    for _ in range(STEPS):
        step()
    return {"mib": (peak() - before) / MIB}


def _gpu_memory() -> tuple[int, Callable[[], int]]:
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated


def _resident() -> tuple[int, Callable[[], int]]:
    """What is resident now, and a function for the highest from now on.

    Where the kernel does not let the high-water mark be set back, it is that of the whole process.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _status("VmRSS"), lambda: _status("VmHWM")
    except OSError:
        unit = 1 if sys.platform == "darwin" else 1024
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        return now, lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"no {field} in /proc/self/status")


def _measured_first_use(settings: Settings) -> dict[str, float]:
    import torch

    torch.set_num_threads(settings.threads or torch.get_num_threads())
    torch.nn.Conv2d(1, 1, 1)(torch.rand(1, 1, 1, 1)).sum().backward()
    device = torch.device(settings.device)
    began = time.perf_counter()
    from bpsta_cli.network import builder, losses

    network = builder.build("8C3-MP2-2Voting", (1, 8, 8), 2).to(device)
    x = torch.rand(2, 2, 1, 8, 8, device=device)
    losses.loss("mse", network.votes(x), torch.zeros(2, dtype=torch.int64, device=device)).backward()  # type: ignore[no-untyped-call]
    if device.type == "cuda":
        torch.cuda.synchronize()
    return {"seconds": time.perf_counter() - began}


def main(what: str, asked: str) -> None:
    """Measure in this process, and print."""
    measured = {"memory": _measured_memory, "first-use": _measured_first_use}[what]
    sys.stdout.write(json.dumps(measured(Settings.model_validate_json(asked))) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
