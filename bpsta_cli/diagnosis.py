"""What runs on this machine, what does not and why, and the one thing to do about each; torch itself may be missing."""

import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from bpsta_cli import __version__
from bpsta_cli.machine import machine
from bpsta_cli.packages import EXTRAS, NEEDED, OPTIONAL, Package, missing

OK, ABSENT, BROKEN = "ok", "absent", "broken"
LEAST_FREE = 1 << 30
"""Bytes below which a disk counts as full: a downloaded data set takes from a tenth of that to forty times as much."""
ONE_INDEX = "pip install --force-reinstall torch torchvision torchaudio"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what it is.
        state: `OK`; `ABSENT`, where everything else works without it; or `BROKEN`, where a training would fail.
        found: what is there, or why not.
        mend: one command or sentence; empty where there is nothing to do.
    """

    name: str
    state: str
    found: str
    mend: str = ""


def findings(data_dir: Path) -> Iterator[Finding]:
    """All of it, the ground first; a part that cannot be looked at is told as broken.

    Args:
        data_dir: folder of raw and prepared data.
    """
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("bpsta", _package),
        ("Python", _python),
        ("processor", _processor),
        *((each.distribution, lambda each=each: _needed(each)) for each in NEEDED),
        ("CPU kernels", _cpu_kernels),
        ("GPU", _gpu),
        *((each.distribution, lambda each=each: _optional(each)) for each in (*OPTIONAL, *EXTRAS)),
        ("data folder", lambda: _data_folder(data_dir)),
        ("cache folder", _cache_folder),
    ]
    for name, check in checks:
        try:
            yield check()
        except Exception as error:  # whatever a package or driver says when it is loaded
            lacking = missing(error)
            todo = lacking.command if lacking else "Run `python -c 'import bpsta_cli.kernels'` to see all of it."
            yield Finding(name, BROKEN, _first_line(error), todo)


def _package() -> Finding:
    return Finding("bpsta", OK, f"{__version__} in {Path(__file__).parent}")


def _python() -> Finding:
    return Finding("Python", OK, f"{platform.python_version()} ({sys.executable}) on {platform.platform(terse=True)}")


def _processor() -> Finding:
    here = machine()
    vectors = [name for name, flag in (("AVX2", "avx2"), ("AVX-512", "avx512f")) if flag in here.instructions.split()]
    name = here.processor or platform.machine() or "not told by the system"
    return Finding("processor", OK, f"{name}, {os.cpu_count()} cores, {' and '.join(vectors) or 'no AVX2'}")


def _needed(package: Package) -> Finding:
    if not (version := package.version()):
        return Finding(package.distribution, BROKEN, f"not installed, needed for {package.needed_for}", package.command)
    try:
        import_module(package.module)
    except Exception as error:  # a part of it that is missing, or does not fit
        return Finding(
            package.distribution,
            BROKEN,
            f"{version} cannot be loaded: {_first_line(error)}",
            f"pip install --force-reinstall {package.distribution}",
        )
    return Finding(package.distribution, OK, version)


def _optional(package: Package) -> Finding:
    if not (version := package.version()):
        return Finding(package.distribution, ABSENT, f"needed for {package.needed_for}", package.command)
    if package.module == "torchvision":  # its metadata does not say which torch it was compiled against
        try:
            import_module(package.module)
        except Exception as error:
            return Finding(
                package.distribution, BROKEN, f"{version} does not fit torch: {_first_line(error)}", ONE_INDEX
            )
    return Finding(package.distribution, OK, version)


def _cpu_kernels() -> Finding:
    import torch

    from bpsta_cli.kernels import dispatch
    from bpsta_cli.kernels.cpu import library

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        reason = library.unsupported_reason(torch.device("cpu"), torch.float32, None)
    said = "".join(f" ({each.message})" for each in told)
    if reason:
        found = f"{dispatch.choose().name} kernel, slower and with the same spikes: {reason}{said}"
        return Finding("CPU kernels", ABSENT, found, _mend_kernels(reason))
    threads = torch.get_num_threads()
    return Finding("CPU kernels", OK, f"{library.isa()}, {library.origin()}, {threads} threads{said}")


def _mend_kernels(reason: str) -> str:
    if "no compiler" in reason:
        return "Install g++ (`apt-get install g++`), or a wheel of bpsta that holds the kernels."
    if "compiler failed" in reason or "could not be" in reason:
        return "Compile by hand what it names, or install a wheel of bpsta that holds the kernels."
    if "BPSTA_CPU_ISA" in reason:
        return "unset BPSTA_CPU_ISA"
    return ""


def _gpu() -> Finding:
    import torch

    from bpsta_cli.kernels.gpu import ops

    if not torch.cuda.is_available():
        built = f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch is built without CUDA"
        mps = "; Apple's GPU is there and not used" if torch.backends.mps.is_available() else ""
        return Finding("GPU", ABSENT, f"none that torch can use ({built}{mps}); everything runs on the CPU")
    name = torch.cuda.get_device_name()
    if reason := ops.smoke_test(torch.device("cuda")):
        return Finding("GPU", ABSENT, f"{name}, with the reference kernel: {reason}", "pip install triton")
    return Finding("GPU", OK, f"{name}, {torch.cuda.device_count()} in all, compiled kernels")


def _data_folder(folder: Path) -> Finding:
    place = folder.absolute()
    there = next(each for each in (place, *place.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding("data folder", BROKEN, f"{place} cannot be written to", "Name another one with --data-dir.")
    free = shutil.disk_usage(there).free
    stores = len(list(folder.glob("prepared/*/*/manifest.json")))
    found = f"{place}, {stores} prepared, {free / 1e9:,.1f} GB free"
    if free < LEAST_FREE:
        return Finding("data folder", BROKEN, found, "Free some space there, or name another one with --data-dir.")
    return Finding("data folder", OK, found if place.exists() else f"{found} (not there yet)")


def _cache_folder() -> Finding:
    from bpsta_cli.kernels.cpu import cache, library

    folder = library.cache_folder()
    if not folder.exists():
        return Finding("cache folder", OK, f"{folder} (not there yet)")
    if why := cache.refused(folder):
        return Finding("cache folder", ABSENT, f"{folder}: {why}", f"chmod go-w {folder}")
    libraries = list(folder.glob("*.so"))
    size = sum(file.stat().st_size for file in libraries)
    return Finding("cache folder", OK, f"{folder}, {len(libraries)} compiled libraries, {size / 1e6:.1f} MB")


def _first_line(error: Any) -> str:
    lines = (str(error) or type(error).__name__).splitlines()
    return lines[0] if lines else ""
