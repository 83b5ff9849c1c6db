"""The compiled kernels: built by g++ when they are first needed, and kept in a cache folder (cache.py).

The folder is `BPSTA_CACHE`, else that of this user's caches: `bpsta` in `XDG_CACHE_HOME`, else ~/.cache/bpsta.
`BPSTA_CPU_ISA` asks for instructions by name (`ISAS`); without it, they are the widest that the processor has.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import platformdirs
import torch

from bpsta_cli.kernels.cpu import cache
from bpsta_cli.kernels.rule_codes import rule_code
from bpsta_cli.rules import Rule

HERE = Path(__file__).parent
SOURCES = tuple(sorted(HERE.glob("*.cpp")))
HEADERS = tuple(sorted(HERE.glob("*.hpp")))
COMPILER = "g++"
"""GCC, because its OpenMP runtime is torch's: another compiler would bring a second pool of threads."""
FLAGS = (
    "-std=c++17",
    "-O3",
    "-mavx2",  # not -march=native: one library is for every machine that shares a cache folder
    "-mfma",
    "-ffp-contract=off",  # the sources say themselves what is fused
    "-fno-trapping-math",  # lets comparisons become masks
    "-fno-math-errno",
    "-fno-exceptions",
    "-fno-rtti",
    "-fopenmp",
    "-fPIC",
)
ISAS = {
    "avx2": (),
    "avx512": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512"),
    "wide-emulated": ("-DVECTOR_BYTES=64",),
}
"""Instructions that the kernels can be compiled for, with the flags that ask for them: each another library beside the
others, with the same results. "wide-emulated" is AVX2 with vectors of AVX-512's width in two halves: slow, but where
AVX-512 is missing it tests what is written for it."""
PROBE = HERE / "probe" / "instructions.cpp"
PROBE_FLAGS = ("-O1", "-fPIC")
BUILD_TIMEOUT = 600
"""Seconds for each command of the compiler, on a machine that has much else to do."""
LINK_FLAGS = ("-shared", "-Wl,--as-needed")
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
        return f"it knows the rules stbp, bpsa and bpsta, and not {type(rule).__name__}"
    return str(_unusable())


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # compiled, it is asked once
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
    machine = f"{sys.platform} {platform.machine()}"
    if machine != "linux x86_64":
        raise _UnusableError(f"it is written for Linux on x86-64 and this is {machine}")
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
    return str(bundled[0]) if bundled else "libgomp.so.1"


def _loaded(sources: Sequence[Path], flags: Sequence[str]) -> ctypes.CDLL:
    """The library from the cache, compiled if it is not there yet; its name holds all that it depends on."""
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise _UnusableError(f"there is no compiler {COMPILER}")
    openmp = Path(_torch_openmp())
    version = _stdout(compiler, "-dumpfullversion", "-dumpmachine")
    depends = [version, openmp.name, *flags, *LINK_FLAGS, *(path.read_text() for path in (*HEADERS, *sources))]
    name = hashlib.sha256("\0".join(depends).encode()).hexdigest()[:16]
    return cache.load(
        cache_folder(), f"cpu-{name}.so", lambda folder: _compile(compiler, sources, flags, openmp, folder)
    )


def _compile(compiler: str, sources: Sequence[Path], flags: Sequence[str], openmp: Path, folder: Path) -> Path:
    """The sources, one a processor at a time, then the library; returns its path in `folder`."""
    output = folder / "cpu.so"

    def to_object(source: Path) -> str:
        target = str(folder / f"{source.stem}.o")
        _stdout(compiler, *flags, "-c", str(source), "-o", target)
        return target

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        objects = list(workers.map(to_object, sources))
    # torch's own runtime comes before the compiler's, which -fopenmp adds
    inputs = [*objects, str(openmp)] if openmp.is_absolute() else objects
    _stdout(compiler, *flags, *LINK_FLAGS, *inputs, "-o", str(output))
    return output


def cache_folder() -> Path:
    """`BPSTA_CACHE`, or `bpsta` where this user's programs keep their caches."""
    named = os.environ.get("BPSTA_CACHE")
    return Path(named) if named else platformdirs.user_cache_path("bpsta")


def _stdout(*command: str) -> str:
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True, timeout=BUILD_TIMEOUT
    ).stdout
