"""`python -m benchmarks`: check every variant, measure those that compute what they should, write the results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks import measuring, peers, processes, writing
from benchmarks.checking import Checker
from benchmarks.clock import OnProgress
from benchmarks.options import application
from benchmarks.profiling import profiled
from benchmarks.settings import Settings
from benchmarks.subjects import Variant
from benchmarks.trained import trained
from benchmarks.variants import catalogue, chosen
from bpsta_cli.devices import resolve_device
from bpsta_cli.errors import BpstaError
from bpsta_cli.kernels import dispatch
from bpsta_cli.provenance import device_name, provenance

INTERRUPTED, REFUSED, UNUSABLE = 130, 1, 2
"""Exit statuses beside 0."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 1 where a variant was refused."""
    try:
        application(_interruptible)(args=arguments, prog_name="python -m benchmarks")
    except BpstaError as error:
        _say(f"error: {error}")
        return UNUSABLE
    except SystemExit as left:
        return int(left.code or 0)
    raise AssertionError("Typer always leaves with a status")


def _interruptible(settings: Settings) -> int:
    try:
        return run(settings)
    except KeyboardInterrupt:
        _say("interrupted: nothing was written")
        return INTERRUPTED


def run(settings: Settings) -> int:
    """Check, measure, write."""
    device = resolve_device(settings.device)
    torch.set_num_threads(settings.threads or torch.get_num_threads())
    variants, absent = chosen(settings)
    for name, why in absent.items():
        _say(f"{name} is absent: {why}")
    checker, refused = Checker(settings, device), dict[str, str]()
    for variant in variants:
        if why := checker.mismatch(variant):
            refused[variant.name] = why
        _say(f"{variant.name}: {f'REFUSED: {why}' if why else 'checked' if variant.checked else 'nothing to check'}")
    rows, wrong_neurons = measured(settings, [each for each in variants if each.name not in refused], device)
    refused |= {f"{name} (neuron alone)": why for name, why in wrong_neurons.items()}
    frame = writing.with_memory_ratios(pd.DataFrame(rows)) if rows else pd.DataFrame(columns=["measure", "variant"])
    texts = [*_conditions(settings, device, variants), _listed("Absent", absent), _listed("Refused", refused)]
    about = "\n".join(f"- {variant.name}: {variant.about}." for variant in catalogue())
    files = writing.write(Path(settings.out), frame, texts, [writing.growth(frame), "## Variants", about, writing.NOTE])
    _say("written: " + ", ".join(map(str, files)))
    return REFUSED if refused else 0


def measured(
    settings: Settings, variants: list[Variant], device: torch.device
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The rows of everything asked for, and which neurons were refused, and why."""
    refused: dict[str, str] = {}

    def neurons(on_progress: OnProgress) -> list[dict[str, Any]]:
        rows, found = measuring.neurons(settings, device, on_progress)
        refused.update(found)
        return rows

    def inference(on_progress: OnProgress) -> list[dict[str, Any]]:
        return measuring.inference(settings, variants, device, on_progress, trained(settings, device))

    works: dict[str, Callable[[OnProgress], list[dict[str, Any]]]] = {
        "step": partial(measuring.steps, settings, variants, device),
        "memory": partial(processes.memory, settings, [variant.name for variant in variants if variant.checked]),
        "inference": inference,
        "neuron": neurons,
        "first-use": partial(processes.first_use, settings),
        "profile": partial(profiled, settings, variants, device),
    }
    rows = []
    for name, work in works.items():
        if name in settings.measures:
            rows += work(lambda done, total, name=name: _progress(name, done, total))  # type: ignore[misc]
    return rows, refused


def _conditions(settings: Settings, device: torch.device, variants: list[Variant]) -> list[str]:
    made = provenance(device_name(device.type), torch.get_num_threads())
    versions = {"python": made["python"], "torch": torch.__version__}
    versions |= {variant.package: peers.version(variant.package) for variant in variants if variant.package}
    kernel = dispatch.choose(device=device)
    shape = "x".join(map(str, settings.shape))
    place = ", ".join(filter(None, (made["machine"]["processor"], made["device"])))
    run = f"inference: run {Path(settings.run).name}, " if settings.run else ""
    return [
        f"{settings.network} at {shape}, batch {settings.batch}, {settings.amp or 'float32'}, "
        f"{run}rounds {settings.rounds}. "
        f"{place}, threads {made['threads']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; "
        f"kernel {kernel.name} ({kernel.why}); commit {made['commit']}."
    ]


def _listed(what: str, found: dict[str, str]) -> str:
    return f"{what}: " + ("; ".join(f"{name} ({why})" for name, why in found.items()) or "none") + "."


def _progress(name: str, done: int, total: int) -> None:
    """One line that is written over, on a terminal; elsewhere a line when a part is done."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{name}: {done} of {total}" + ("\n" if done == total else ""))
        sys.stderr.flush()
    elif done == total:
        _say(f"{name}: {total} done")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
