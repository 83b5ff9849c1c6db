"""The compiled kernels: built by g++ when they are first needed, and kept in a cache folder.

The folder is `BPSTA_CACHE`, or `bpsta` in `XDG_CACHE_HOME`, or ~/.cache/bpsta.
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
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from bpsta_cli.files import replacing
from bpsta_cli.kernels.rule_codes import numbered
from bpsta_cli.rules import Rule

HERE = Path(__file__).parent
SOURCES = (HERE / "lif.cpp", HERE / "block.cpp", HERE / "sparse_conv.cpp", HERE / "sparse_conv_backward.cpp")
HEADERS = (HERE / "rules.hpp", HERE / "sparse_conv.hpp")
COMPILER = "g++"
"""GCC, whose OpenMP runtime is torch's: another compiler would bring a second pool of threads."""
FLAGS = (
    "-std=c++17",
    "-O3",
    "-mavx2",  # not -march=native: one library serves every machine that shares a cache folder
    "-mfma",
    "-ffp-contract=off",  # the sources say themselves what is fused
    "-fno-trapping-math",  # lets comparisons become masks
    "-fno-math-errno",
    "-fno-exceptions",
    "-fno-rtti",
    "-fopenmp",
    "-fPIC",
)
WIDE_FLAGS = ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mprefer-vector-width=512")
"""Where torch itself uses AVX-512: another library beside that for AVX2, with the same results."""
LINK_FLAGS = ("-shared", "-Wl,--as-needed")
DTYPES = {torch.float32: "float32", torch.float64: "float64"}


def refusal(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """Why the kernels cannot serve such an input and rule, in one clause; empty when they can.

    Builds them if need be, once in a process.
    """
    if device.type != "cpu":
        return f"it runs on the CPU and the input is on {device.type}"
    if dtype not in DTYPES:
        return f"it has float32 and float64 and the input is {str(dtype).removeprefix('torch.')}"
    if rule is not None and numbered(rule) is None:
        return f"it knows the rules stbp, bpsa and bpsta, and not {type(rule).__name__}"
    loaded = _library()
    return loaded if isinstance(loaded, str) else ""


def entry(name: str, dtype: torch.dtype) -> Any:
    """The function `name` for a dtype; `refusal` was asked before."""
    library = _library()
    assert isinstance(library, ctypes.CDLL)
    return getattr(library, f"{name}_{DTYPES[dtype]}")


class _UnusableError(Exception):
    """Why there is no kernel on this machine, in one clause."""


@functools.cache
def _library() -> ctypes.CDLL | str:
    """The compiled kernels, or why there are none."""
    try:
        _check_machine()
        return ctypes.CDLL(str(_built()))
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
    capability = torch.backends.cpu.get_cpu_capability()
    if capability not in ("AVX2", "AVX512"):
        raise _UnusableError(f"it needs AVX2 and torch uses {capability} here")
    if not all(map(_torch_fuses, DTYPES)):
        raise _UnusableError("torch rounds decay * v + x twice here, and it once")
    try:
        ctypes.CDLL(_torch_openmp(), mode=os.RTLD_NOLOAD)
    except OSError as error:
        raise _UnusableError("torch's threads are not those of libgomp") from error


def _torch_fuses(dtype: torch.dtype) -> bool:
    """Whether torch's alpha * v + x is rounded once: (1 + eps)^2 - (1 + 2 eps) is eps^2 then, and 0 otherwise."""
    eps = torch.finfo(dtype).eps
    v = torch.full((37,), 1 + eps, dtype=dtype)  # whole vectors and a rest
    return bool((torch.add(torch.full_like(v, -1 - 2 * eps), v, alpha=1 + eps) == eps**2).all())


def _torch_openmp() -> str:
    """The OpenMP runtime in torch's own folder, else the system's: linked to the same, the threads are shared."""
    bundled = sorted(Path(torch.__file__).parent.glob("lib/libgomp*.so*"))
    return str(bundled[0]) if bundled else "libgomp.so.1"


def _built() -> Path:
    """The library in the cache, compiled if it is not there yet; its name holds all that it depends on."""
    compiler = shutil.which(COMPILER)
    if compiler is None:
        raise _UnusableError(f"there is no compiler {COMPILER}")
    openmp = Path(_torch_openmp())
    version = _stdout(compiler, "-dumpfullversion", "-dumpmachine")
    depends = [version, openmp.name, *_flags(), *LINK_FLAGS, *(path.read_text() for path in (*HEADERS, *SOURCES))]
    name = hashlib.sha256("\0".join(depends).encode()).hexdigest()[:16]
    library = _cache() / f"cpu-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            output = _compile(compiler, openmp, Path(folder))
            with replacing(library) as file:  # two processes may build at once: each puts a whole file in place
                file.write(output.read_bytes())
    return library


def _flags() -> tuple[str, ...]:
    return FLAGS + WIDE_FLAGS if torch.backends.cpu.get_cpu_capability() == "AVX512" else FLAGS


def _compile(compiler: str, openmp: Path, folder: Path) -> Path:
    """All sources at once, then the library; returns its path in `folder`."""
    output = folder / "cpu.so"

    def to_object(source: Path) -> str:
        target = str(folder / f"{source.stem}.o")
        _stdout(compiler, *_flags(), "-c", str(source), "-o", target)
        return target

    with ThreadPoolExecutor(len(SOURCES)) as workers:
        objects = list(workers.map(to_object, SOURCES))
    # torch's own runtime serves before the compiler's, which -fopenmp adds
    inputs = [*objects, str(openmp)] if openmp.is_absolute() else objects
    _stdout(compiler, *_flags(), *LINK_FLAGS, *inputs, "-o", str(output))
    return output


def _cache() -> Path:
    if named := os.environ.get("BPSTA_CACHE"):
        return Path(named)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches, "bpsta")
    return Path.home() / ".cache" / "bpsta"


def _stdout(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=120).stdout
