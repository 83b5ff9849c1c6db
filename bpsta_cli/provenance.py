"""Where a result comes from: commit, code, versions, device. Loads no torch by itself."""

import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
LIBRARIES = ("torch", "torchvision", "torchaudio", "tonic", "numpy", "scikit-learn", "pandas")
CODE = ("bpsta_cli", "pipelines", "dvc.yaml", "params.yaml", "pyproject.toml", "requirements.lock")
"""What makes a tree dirty: code and settings, not the results that the pipeline rewrites."""
NOT_NUMERIC = ("cli", "reporting")
"""Parts of the package that decide no number of a run."""


def provenance(device: str, threads: int, *, method: str = "") -> dict[str, Any]:
    """Commit (with "-dirty" when code or settings differ from it), versions, device, threads.

    A `method` that is a file with a rule of the user's own counts as code.
    """
    return {
        "commit": commit(),
        "code": _with_rule_file(code_hash(), method),
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name))},
        "device": device,
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
    for file in sorted(PACKAGE.rglob("*")):
        if file.suffix in (".py", ".cpp", ".hpp") and file.relative_to(PACKAGE).parts[0] not in NOT_NUMERIC:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _with_rule_file(code: str, method: str) -> str:
    file = Path(method)
    if file.suffix != ".py" or not file.is_file():
        return code
    return hashlib.sha256(code.encode() + file.read_bytes()).hexdigest()


def device_name(kind: str) -> str:
    """The device in words: its type, and a GPU's model or a CPU's instructions, which decide the last digits."""
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
