"""Picks the backend of the neuron and its block; says which and why."""

from __future__ import annotations

from typing import NamedTuple

import torch

from bpsta_cli.errors import SettingsError, did_you_mean
from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.rules import Rule

BACKENDS = ("auto", "cpu", "gpu", "reference")


class Choice(NamedTuple):
    """The backend that runs, and the reason in one clause."""

    name: str
    why: str


def choose(
    backend: str = "auto",
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    rule: Rule | None = None,
) -> Choice:
    """Pick a backend for an input and a rule; "auto" is "gpu" on a GPU and "cpu" elsewhere.

    Where that does not support the input, the rule or the machine, it is "reference".

    Args:
        backend: one of `BACKENDS`.
        device: where the input is; None stands for where the backend runs, the CPU for "auto".
        dtype: of the input.
        rule: what the backward pass follows; None stands for the package's own.

    Raises:
        SettingsError: unknown backend, or one asked for by name that does not support this.
    """
    if backend not in BACKENDS:
        raise SettingsError(
            "unknown backend",
            expected=f"one of {', '.join(BACKENDS)}",
            got=f'"{backend}"',
            todo=did_you_mean(backend, BACKENDS, otherwise='"auto" picks one that runs here.'),
        )
    if backend == "reference":
        return Choice(backend, "asked for by name")
    if device is None:
        device = ops.default_device() if backend == "gpu" else "cpu"
    device = torch.device(device)
    name = backend if backend != "auto" else "gpu" if device.type == "cuda" else "cpu"
    reason = {"cpu": library.unsupported_reason, "gpu": ops.unsupported_reason}[name](device, dtype, rule)
    if backend == "auto":
        return (
            Choice("reference", f"{name} does not support this: {reason}")
            if reason
            else Choice(name, "the fastest here")
        )
    if reason:
        raise SettingsError(
            f'unusable backend "{name}"',
            expected="one that supports this input and rule here",
            got=f"one that does not: {reason}",
            todo='"auto" takes "reference" instead, with the same spikes.',
        )
    return Choice(backend, "asked for by name")
