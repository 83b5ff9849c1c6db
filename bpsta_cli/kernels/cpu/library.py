"""The compiled kernels: out of the wheel, or built by g++ when they are first needed and kept in a cache (cache.py).

The cache folder is `BPSTA_CACHE`, else that of this user's caches: `bpsta` in `XDG_CACHE_HOME`, else ~/.cache/bpsta.
`BPSTA_CPU_ISA` asks for instructions by name (`ISAS`); without it, they are the widest that the processor has.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import platformdirs
import torch

from bpsta_cli.errors import BpstaWarning
from bpsta_cli.kernels.capture import asked_once
from bpsta_cli.kernels.cpu import cache
from bpsta_cli.kernels.cpu.compilation import (
    BUILT,
    COMPILER,
    FLAGS,
    HERE,
    ISAS,
    OPENMP,
    PLATFORM,
    PROBE,
    PROBE_FLAGS,
    SOURCES,
    compile_library,
    digest,
    stdout,
    this_platform,
)
from bpsta_cli.kernels.rule_codes import rule_code
from bpsta_cli.rules import Rule

__all__ = ["DTYPES", "FLAGS", "HERE", "ISAS", "SOURCES", "cache_folder", "call", "isa", "origin", "unsupported_reason"]

DTYPES = {torch.float32: "float32", torch.float64: "float64"}


def unsupported_reason(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """Why the kernels do not support such an input and rule, in one clause; empty if they do.

    Builds them if need be, once in a process.
    """
    if device.type != "cpu":
        return f"it runs on the CPU and the input is on {device.type}"
    if dtype not in DTYPES:
        return f"it has float32 and float64 and the input is {str(dtype).removeprefix('torch.')}"
    if rule is not None and rule_code(rule) is None:
        return f"it knows the rules stbp, bpsa and bpsta, and not {rule.name}"
    return str(_unusable())


@asked_once
def _unusable() -> str:
    """Why there are no kernels on this machine; empty if there are."""
    loaded = _library()
    return loaded if isinstance(loaded, str) else ""


Argument = torch.Tensor | Sequence[torch.Tensor | None] | ctypes.Structure | int | float | None


def call(name: str, dtype: torch.dtype, *arguments: Argument) -> int:
    """Run the function `name` for a dtype in as many threads as torch's; `unsupported_reason` was asked before.

    Args:
        name: the C++ function without the dtype at its end. Its last argument is the number of threads.
        dtype: of the values, one of `DTYPES`.
        arguments: the others, in order. A tensor becomes the address of its memory, several an array of addresses
            (null for None), a structure its address, None a null pointer, a whole number or a bool an int64_t, any
            other number a double.

    Returns:
        What the function returns, an int64_t; nothing to use where it is void.
    """
    threads = ctypes.c_int(torch.get_num_threads())
    return int(native_function(name, dtype)(*map(_native_argument, arguments), threads))


def native_function(name: str, dtype: torch.dtype) -> Callable[..., Any]:
    """The compiled function `name` for a dtype."""
    library = _library()
    assert isinstance(library, ctypes.CDLL)
    function: Callable[..., Any] = getattr(library, f"{name}_{DTYPES[dtype]}")  # kept by the library
    function.restype = ctypes.c_int64  # type: ignore[attr-defined]
    return function


def _native_argument(argument: Argument) -> Any:
    if argument is None:
        return ctypes.c_void_p()
    if isinstance(argument, torch.Tensor):
        return ctypes.c_void_p(argument.data_ptr())
    if isinstance(argument, ctypes.Structure):
        return ctypes.byref(argument)
    if isinstance(argument, int):
        return ctypes.c_int64(argument)
    if isinstance(argument, float):
        return ctypes.c_double(argument)
    return (ctypes.c_void_p * len(argument))(*(None if each is None else each.data_ptr() for each in argument))


class _UnusableError(Exception):
    """Why there is no kernel on this machine, in one clause."""


@functools.cache
def _library() -> ctypes.CDLL | str:
    """The compiled kernels, or why there are none."""
    try:
        _check_machine()
        return _loaded(SOURCES, FLAGS + ISAS[isa()])
    except _UnusableError as error:
        return str(error)
    except subprocess.CalledProcessError as error:
        return f"the compiler failed: {(error.stderr.strip() or str(error)).splitlines()[0]}"
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        return f"the kernel could not be built or loaded: {error}"


def _check_machine() -> None:
    if this_platform() != PLATFORM:
        raise _UnusableError(f"it is written for Linux on x86-64 and this is {this_platform()}")
    try:
        ctypes.CDLL(_torch_openmp(), mode=os.RTLD_NOLOAD)
    except OSError as error:
        raise _UnusableError("torch's threads are not those of libgomp") from error


@functools.cache
def isa() -> str:
    """The instructions that the kernels are compiled for, one of `ISAS`.

    Raises:
        _UnusableError: the processor has none of them, or not those that `BPSTA_CPU_ISA` asks for.
    """
    # the processor is asked from within this process, which may be emulated
    level = int(_loaded((PROBE,), PROBE_FLAGS).instructions())
    asked = os.environ.get("BPSTA_CPU_ISA") or ("avx512" if level > 1 else "avx2")
    if asked not in ISAS:
        raise _UnusableError(f"BPSTA_CPU_ISA is {asked}, none of {', '.join(ISAS)}")
    if level < 1:
        raise _UnusableError("it needs AVX2 and this processor has none")
    if asked == "avx512" and level < 2:
        raise _UnusableError("BPSTA_CPU_ISA is avx512 and this processor has none")
    return asked


def _torch_openmp() -> str:
    """The OpenMP runtime in torch's own folder, else the system's: linked to the same, the threads are shared."""
    bundled = sorted(Path(torch.__file__).parent.glob("lib/libgomp*.so*"))
    return str(bundled[0]) if bundled else OPENMP


def _loaded(sources: Sequence[Path], flags: Sequence[str]) -> ctypes.CDLL:
    """The library out of the wheel where it is of these sources and flags and fits torch, else compiled."""
    if (built := _built(sources, flags)) is not None:
        try:
            _check_fits(flags)
            return ctypes.CDLL(str(built))
        except (_UnusableError, OSError) as why:
            told = f"the kernels that were installed with bpsta are not used: {why}. They are compiled here instead."
            warnings.warn(told, BpstaWarning, stacklevel=2)
    return _compiled(sources, flags)


def _built(sources: Sequence[Path], flags: Sequence[str]) -> Path | None:
    """The file in `BUILT`; None in a clone, after a change of the sources, or for flags that no wheel is built with."""
    if not BUILT.is_dir():
        return None
    return next(BUILT.glob(f"*-{digest(sources, flags)}.so"), None)


def _check_fits(flags: Sequence[str]) -> None:
    """A built library names its OpenMP runtime: it shares torch's threads where torch's has this name."""
    name = Path(_torch_openmp()).name
    if "-fopenmp" in flags and name != OPENMP:
        raise _UnusableError(f"they share threads with {OPENMP}, and torch {torch.__version__} brings {name}")


def _compiled(sources: Sequence[Path], flags: Sequence[str]) -> ctypes.CDLL:
    """The library from the cache, compiled if it is not there yet; its name holds all that it depends on."""
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise _UnusableError(f"there is no compiler {COMPILER}")
    openmp = Path(_torch_openmp())
    version = stdout(compiler, "-dumpfullversion", "-dumpmachine")
    linked = openmp if openmp.is_absolute() else None
    return cache.load(
        cache_folder(),
        f"cpu-{digest(sources, flags, version, openmp.name)}.so",
        lambda folder: compile_library(compiler, sources, flags, folder, linked),
    )


def origin() -> str:
    """Where this process has the compiled kernels from, in one clause; empty where it has none."""
    loaded = _library()
    if isinstance(loaded, str):
        return ""
    file = Path(loaded._name)
    return "installed with bpsta" if file.parent == BUILT else f"compiled on first use, kept in {cache_folder()}"


def cache_folder() -> Path:
    """`BPSTA_CACHE`, or `bpsta` where this user's programs keep their caches."""
    named = os.environ.get("BPSTA_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("bpsta")
