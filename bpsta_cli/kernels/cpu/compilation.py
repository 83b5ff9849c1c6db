"""How the kernels are compiled: from which sources, for which instructions, with which flags.

Imports nothing but Python's own modules: setup.py runs this file where neither torch nor the package is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
SOURCES = tuple(sorted(HERE.glob("*.cpp")))
HEADERS = tuple(sorted(HERE.glob("*.hpp")))
BUILT = HERE / "built"
"""Where a wheel has the libraries that were compiled when it was built; not there in a clone."""
PLATFORM = "linux x86_64"
"""What the kernels are written for."""
COMPILER = "g++"
"""GCC, because its OpenMP runtime is torch's: another compiler would bring a second pool of threads."""
FLAGS = (
    "-std=c++17",
    "-O3",
    "-mavx2",  # not -march=native: one library is for every machine that shares a cache folder, or installs a wheel
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
LINK_FLAGS = ("-shared", "-Wl,--as-needed")
OPENMP = "libgomp.so.1"
"""The OpenMP runtime by the name that GCC links to, where no other file is given."""
BUILD_TIMEOUT = 600
"""Seconds for each command of the compiler, on a machine that has much else to do."""


def this_platform() -> str:
    """System and processor, in the form of `PLATFORM`."""
    return f"{sys.platform} {platform.machine()}"


def digest(sources: Sequence[Path], flags: Sequence[str], *more: str) -> str:
    """16 hexadecimal digits that change with the sources, the headers, the flags and whatever else a library holds."""
    depends = [*more, *flags, *LINK_FLAGS, *(path.read_text(encoding="utf-8") for path in (*HEADERS, *sources))]
    return hashlib.sha256("\0".join(depends).encode()).hexdigest()[:16]


def built_libraries(isas: Sequence[str]) -> dict[str, tuple[tuple[Path, ...], tuple[str, ...]]]:
    """What a wheel holds in `BUILT`: file names, each with its sources and flags.

    Args:
        isas: of `ISAS`; the library that asks the processor which of them it has comes by itself.
    """
    wanted = {isa: (SOURCES, FLAGS + ISAS[isa]) for isa in isas} | {"probe": ((PROBE,), PROBE_FLAGS)}
    return {f"{name}-{digest(*how)}.so": how for name, how in wanted.items()}


def compile_library(
    compiler: str, sources: Sequence[Path], flags: Sequence[str], folder: Path, openmp: Path | None = None
) -> Path:
    """The sources, one a processor at a time, then the library; returns its path in `folder`.

    Args:
        compiler: the program.
        sources: C++ files.
        flags: of each of its commands.
        folder: an empty one, for what it makes.
        openmp: the file of the OpenMP runtime to link to; None: the compiler's own.

    Raises:
        subprocess.SubprocessError: the compiler failed, or took longer than `BUILD_TIMEOUT`.
    """
    output = folder / "cpu.so"

    def to_object(source: Path) -> str:
        target = str(folder / f"{source.stem}.o")
        stdout(compiler, *flags, "-c", str(source), "-o", target)
        return target

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        objects = list(workers.map(to_object, sources))
    # torch's own runtime comes before the compiler's, which -fopenmp adds
    inputs = [*objects, str(openmp)] if openmp is not None else objects
    stdout(compiler, *flags, *LINK_FLAGS, *inputs, "-o", str(output))
    return output


def stdout(*command: str) -> str:
    """What a command of the compiler prints; its errors are in the exception."""
    return subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=True, timeout=BUILD_TIMEOUT
    ).stdout
