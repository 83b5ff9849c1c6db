"""Devices by the names that users give them."""

import os
import sys
from pathlib import Path

import torch

from bpsta_cli.errors import SettingsError


def resolve_device(name: str) -> torch.device:
    """The device called `name`; "auto" takes a GPU where there is one.

    Raises:
        SettingsError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, dtype=torch.float64, device=device)  # sums are kept in it; Apple's GPUs (mps) have none
    except (RuntimeError, AssertionError, TypeError) as refused:
        raise SettingsError(
            "unusable device",
            expected="auto, cpu, or cuda where torch finds a GPU, with float64",
            got=f"{name!r} ({str(refused).splitlines()[0][:80].strip()})",
            todo="Use --device cpu.",
        ) from None
    return device


CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where Linux says how much memory a container may take, by its two versions."""


def memory_bytes(device: torch.device) -> int:
    """Bytes of memory that this process may take on `device`: the machine's, or its limit where that is lower."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    limits = [_machine_bytes(), *_process_limits()]
    for file in CGROUP_LIMITS:
        try:
            text = file.read_text(encoding="ascii").strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def _machine_bytes() -> int:
    """The machine's memory; more than any has where the system does not say it, as Windows does not this way."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def _process_limits() -> list[int]:
    """Limits that were set for this process (`ulimit -v`, `-d`)."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    soft = (resource.getrlimit(limit)[0] for limit in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    return [limit for limit in soft if limit != resource.RLIM_INFINITY]
