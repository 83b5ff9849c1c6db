"""Where the time of this package's training step goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.clock import OnProgress
from benchmarks.measuring import Workload, weights
from benchmarks.settings import Settings
from benchmarks.subjects import OURS, Variant

STEPS = 3
SYNAPSES, KERNELS = "convolutions and linear layers", "this package's kernels inside autograd"
OTHER, BETWEEN = "other torch operations", "between operations: Python, and kernels called outside autograd"
SYNAPTIC = ("conv", "addmm", "aten::mm", "linear")


def profiled(
    settings: Settings, variants: list[Variant], device: torch.device, on_progress: OnProgress
) -> list[dict[str, Any]]:
    """Shares of the time of bpsta's training steps, by kind of operation, at every T and kind of input."""
    rows: list[dict[str, Any]] = []
    for variant in (each for each in variants if each.name == OURS):
        cases = [(kind, T) for kind in settings.inputs for T in settings.T]
        calibrated = {kind: weights(settings, kind, device) for kind in settings.inputs}
        for done, (kind, T) in enumerate(cases, start=1):
            shares = _shares(Workload(settings, T, kind, device, calibrated[kind]).step(variant), device)
            keys = {"measure": "profile", "input": kind, "T": T, "unit": "share"}
            rows += [{**keys, "variant": name, "median": share} for name, share in shares.items()]
            on_progress(done, len(cases))
    return rows


def kind_of(operation: str) -> str:
    """What an operation of the profiler belongs to; functions of autograd's that have no namespace are our own."""
    if any(word in operation.lower() for word in SYNAPTIC):
        return SYNAPSES
    return KERNELS if operation.startswith("_") else OTHER


def _shares(step: Callable[[], object], device: torch.device) -> dict[str, float]:
    on_gpu = device.type == "cuda"
    step()
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as recorded:
        began = time.perf_counter()
        for _ in range(STEPS):
            step()
        if on_gpu:
            torch.cuda.synchronize()
        whole = 1e6 * (time.perf_counter() - began)
    found = dict.fromkeys((SYNAPSES, KERNELS, OTHER), 0.0)
    for event in recorded.key_averages():
        if event.device_type.name == "CPU":  # a GPU's time stands with the operation that asked for it
            found[kind_of(event.key)] += event.self_device_time_total if on_gpu else event.self_cpu_time_total
    return {name: own / whole for name, own in found.items()} | {BETWEEN: max(0.0, 1 - sum(found.values()) / whole)}
