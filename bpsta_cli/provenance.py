"""Where a result comes from: commit, code, versions, device, machine. Loads no torch by itself."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bpsta_cli.machine import machine

PACKAGE = Path(__file__).parent
LIBRARIES = ("torch", "torchvision", "torchaudio", "tonic", "numpy", "scikit-learn", "pandas")
CODE = ("bpsta_cli", "pipelines", "dvc.yaml", "params.yaml", "pyproject.toml", "requirements.lock")
"""What makes a tree dirty: code and settings, not the results that the pipeline rewrites."""
NO_SOURCES = (".md", ".so")
"""Files that decide nothing by themselves: pages, and the kernels of a wheel, whose sources count."""
_EVERY_RUN = (
    "config",
    "data",
    "distributed/division.py",
    "distributed/ranks.py",
    "evaluation/accuracy.py",
    "kernels",
    "network",
    "portable_math.py",
    "random_numbers.py",
    "reading",
    "rules",
    "surrogates.py",
)
TRAINING = (*_EVERY_RUN, "distributed/launcher.py", "distributed/samples.py", "training")
"""The parts of the package, folders and modules, that decide the numbers of a training."""
MEASUREMENT = (
    *_EVERY_RUN,
    "distributed/samples.py",
    "energy",
    "evaluation/accuracy_over_time.py",
    "evaluation/early_exit.py",
    "measurement.py",
    "quantisation",
    "training/activation_checkpointing.py",
    "training/adamw.py",
    "training/checkpoint_files.py",
    "training/epoch.py",
    "training/idle_units.py",
    "training/monitor.py",
    "training/optimisers.py",
    "training/rule_trust.py",
    "training/run_directory.py",
    "training/run_network.py",
    "training/schedules.py",
    "training/so_far.py",
    "training/tensor_files.py",
)
"""The same of a measurement: evaluation, energy and accuracy over time, but no measured time."""


def provenance(device: str, threads: int, *, method: str = "") -> dict[str, Any]:
    """Commit (with "-dirty" when code or settings differ from it), versions, device, machine, threads.

    A `method` that is a file with a rule of the user's own counts as code.
    """
    return {
        "commit": commit(),
        "code": _with_rule_file(code_hash(), method),
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "device": device,
        "machine": asdict(machine()),
        "threads": threads,
    }


@functools.cache
def commit() -> str:
    """The commit of the checkout that holds the package, or "none" outside of one."""
    head = _git("rev-parse", "HEAD")
    # a package installed inside another project's checkout is not of that project's commit
    if head is None or _git("ls-files", "--error-unmatch", "--", str(PACKAGE / "__init__.py")) is None:
        return "none"
    return f"{head}-dirty" if _git("status", "--porcelain", "--", *CODE) else head


@functools.cache
def code_hash() -> str:
    """SHA-256 over the modules that decide numbers: an unfinished run is continued only by the same."""
    digest = hashlib.sha256()
    for file in deciding(TRAINING + MEASUREMENT):
        digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def deciding(parts: Iterable[str]) -> list[Path]:
    """The files of these parts of the package, sorted; no page of text, and nothing that was compiled."""
    found = {file for part in parts for file in (PACKAGE / part, *(PACKAGE / part).rglob("*")) if file.is_file()}
    return sorted(file for file in found if file.suffix not in NO_SOURCES and "__pycache__" not in file.parts)


def _with_rule_file(code: str, method: str) -> str:
    file = Path(method)
    if file.suffix != ".py" or not file.is_file():
        return code
    return hashlib.sha256(code.encode() + file.read_bytes()).hexdigest()


def device_name(kind: str) -> str:
    """The device in words for a reader: its type, and a GPU's model or a CPU's cores and instructions."""
    if "torch" not in sys.modules:
        return f"{kind} ({platform.machine()}, {os.cpu_count()} cores)"
    import torch

    if kind == "cpu":
        return f"{kind} ({platform.machine()}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()})"
    return f"{kind} ({torch.cuda.get_device_name()})"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=PACKAGE.parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
