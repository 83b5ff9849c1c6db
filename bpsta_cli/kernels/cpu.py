"""The neuron on the CPU, fused: all steps of a block of elements in one pass over memory, forward and backward.

cpu.cpp is compiled when it is first needed and kept in a cache folder: `BPSTA_CACHE`, or `bpsta` in
`XDG_CACHE_HOME`, or ~/.cache/bpsta. README.md beside this file says what is computed, and how it rounds.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli.files import replacing
from bpsta_cli.rules import BPSA, BPSTA, STBP, Rule

SOURCE = Path(__file__).with_suffix(".cpp")
COMPILER = "g++"
"""GCC, whose OpenMP runtime is torch's: another compiler would bring a second pool of threads."""
FLAGS = (
    "-std=c++17",
    "-O3",
    "-mavx2",  # not -march=native: one library serves every machine that shares a cache folder, and AVX-512
    "-mfma",  # gains little where memory is the limit
    "-ffp-contract=off",  # cpu.cpp says itself what is fused
    "-fno-trapping-math",  # lets comparisons become masks
    "-fno-math-errno",
    "-fno-exceptions",
    "-fno-rtti",
    "-fopenmp",
    "-fPIC",
    "-shared",
    "-Wl,--as-needed",
)
DTYPES = {torch.float32: "float32", torch.float64: "float64"}
CURVES = {"rectangular": 1, "polynomial": 2, "sigmoid": 3, "gaussian": 4}
"""The numbers that cpu.cpp knows the curves of `stbp` by; `bpsa` and `bpsta` are 0."""


def refusal(device: torch.device, dtype: torch.dtype, rule: Rule | None) -> str:
    """Why this backend cannot serve such an input and rule, in one clause; empty when it can.

    Builds the kernel if need be, once in a process.
    """
    if device.type != "cpu":
        return f"it runs on the CPU and the input is on {device.type}"
    if dtype not in DTYPES:
        return f"it has float32 and float64 and the input is {str(dtype).removeprefix('torch.')}"
    if rule is not None and _numbered(rule) is None:
        return f"it knows the rules stbp, bpsa and bpsta, and not {type(rule).__name__}"
    loaded = _library()
    return loaded if isinstance(loaded, str) else ""


def lif(x: Tensor, *, threshold: float, decay: float, rule: Rule) -> Tensor:
    """Spikes of all T steps, [T, ...] -> [T, ...]; arguments as in `bpsta_cli.kernels.lif`, not refused."""
    if torch.is_grad_enabled() and x.requires_grad:
        spikes: Tensor = _LIF.apply(x, threshold, decay, rule)
        return spikes
    return _forward(x, threshold, decay)


class _LIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, threshold: float, decay: float, rule: Rule) -> Tensor:
        ctx.save_for_backward(x)  # most often the output of a ReLU, which has saved it already
        ctx.threshold, ctx.decay, ctx.rule = threshold, decay, rule
        return _forward(x, threshold, decay)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_o: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors
        return _backward(x, grad_o, ctx.threshold, ctx.decay, ctx.rule), None, None, None


def _forward(x: Tensor, threshold: float, decay: float) -> Tensor:
    x = _dense_steps(x.detach())
    spikes = _empty_like(x)
    _entry("forward", x.dtype)(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_int64(x.stride(0)),
        ctypes.c_void_p(spikes.data_ptr()),
        ctypes.c_int64(len(x)),
        ctypes.c_int64(_size(x)),
        ctypes.c_double(threshold),
        ctypes.c_double(decay),
        ctypes.c_int(torch.get_num_threads()),
    )
    return spikes


def _backward(x: Tensor, grad_o: Tensor, threshold: float, decay: float, rule: Rule) -> Tensor:
    x = _dense_steps(x.detach())
    if grad_o.stride()[1:] != x.stride()[1:] or grad_o.is_neg():
        grad_o = _empty_like(x).copy_(grad_o)
    grad_x = _empty_like(x)
    numbered = _numbered(rule)
    assert numbered is not None  # dispatch asked
    number, parameter, detach_reset = numbered
    complete = _entry("backward", x.dtype)(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_int64(x.stride(0)),
        ctypes.c_void_p(grad_o.data_ptr()),
        ctypes.c_int64(grad_o.stride(0)),
        ctypes.c_void_p(grad_x.data_ptr()),
        ctypes.c_int64(len(x)),
        ctypes.c_int64(_size(x)),
        ctypes.c_double(threshold),
        ctypes.c_double(decay),
        ctypes.c_int(number),
        ctypes.c_double(parameter),
        ctypes.c_int(detach_reset),
        ctypes.c_int(torch.get_num_threads()),
    )
    if not complete:
        raise MemoryError(f"no memory for the potentials of {len(x)} steps")
    return grad_x


def _numbered(rule: Rule) -> tuple[int, float, bool] | None:
    """The number, the parameter and `detach_reset` that cpu.cpp knows a rule by; None if it does not."""
    if type(rule) is BPSA:  # a subclass may do anything
        return 0, 0.0, False
    if type(rule) is BPSTA:
        return 0, rule.alpha, False
    if type(rule) is STBP and rule.surrogate in CURVES:
        return CURVES[rule.surrogate], rule.surrogate_width, rule.detach_reset
    return None


def _dense_steps(x: Tensor) -> Tensor:
    """`x` in a layout whose steps are gapless, in whatever order; itself where it is so already.

    Time may have any stride, 0 included: an input that is constant in time stays one step of memory.
    """
    x = x.resolve_neg()
    expected = 1
    for stride, length in sorted(zip(x.stride()[1:], x.shape[1:], strict=True)):
        if length != 1:
            if stride != expected:
                return x[0].contiguous().expand_as(x) if x.stride(0) == 0 else x.contiguous()
            expected *= length
    return x


def _empty_like(x: Tensor) -> Tensor:
    """Memory for a result: the steps one after another, each in the layout of those of `x`."""
    return torch.empty_strided(x.shape, (_size(x), *x.stride()[1:]), dtype=x.dtype)


def _size(x: Tensor) -> int:
    """Elements of one step."""
    return math.prod(x.shape[1:])


def _entry(name: str, dtype: torch.dtype) -> Any:
    library = _library()
    assert isinstance(library, ctypes.CDLL)  # dispatch asked
    return getattr(library, f"{name}_{DTYPES[dtype]}")


class _UnusableError(Exception):
    """Why there is no kernel on this machine, in one clause."""


@functools.cache
def _library() -> ctypes.CDLL | str:
    """The compiled kernel, or why there is none."""
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
    inputs = [str(SOURCE)]
    if openmp.is_absolute():
        inputs.append(str(openmp))  # serves before the compiler's own, which -fopenmp adds
    version = _stdout(compiler, "-dumpfullversion", "-dumpmachine")
    depends = "\0".join((version, openmp.name, *FLAGS)).encode() + b"\0" + SOURCE.read_bytes()
    library = _cache() / f"cpu-{hashlib.sha256(depends).hexdigest()[:16]}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "cpu.so")
            _stdout(compiler, *FLAGS, *inputs, "-o", str(output))
            with replacing(library) as file:  # two processes may build at once: each puts a whole file in place
                file.write(output.read_bytes())
    return library


def _cache() -> Path:
    if named := os.environ.get("BPSTA_CACHE"):
        return Path(named)
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches, "bpsta")
    return Path.home() / ".cache" / "bpsta"


def _stdout(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, errors="replace", check=True, timeout=120).stdout
