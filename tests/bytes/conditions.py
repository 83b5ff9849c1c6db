"""Under which conditions the tiny runs are trained: what other machines, days and users have, played on this one."""

import os
import platform
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bpsta_cli.machine import CHOOSING, CPUINFO

HERE = Path(__file__).parent
EMULATOR = "qemu-x86_64"
EMULATED = "Haswell"
"""Intel's first processor with AVX2 and FMA; its instructions are computed, not run."""


@dataclass(frozen=True)
class Condition:
    """One way to start tiny_runs.py.

    Attributes:
        environment: variables that are set.
        options: of tiny_runs.py.
        command: what Python is started by.
        missing: why it cannot be had here; empty where it can.
    """

    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    missing: str = ""

    def __or__(self, other):
        return Condition(
            self.environment | other.environment,
            self.options + other.options,
            self.command + other.command,
            self.missing or other.missing,
        )


def _numpy_features():
    """What numpy chooses at run time and has here: all of it can be switched off."""
    core = np._core if hasattr(np, "_core") else np.core
    module = core._multiarray_umath
    return " ".join(name for name in module.__cpu_dispatch__ if module.__cpu_features__.get(name))


def _wide():
    return "" if "avx512f" in CPUINFO.read_text(encoding="utf-8", errors="replace") else "no AVX-512 here"


def _threads(count):
    return Condition({"OMP_NUM_THREADS": str(count)}, ("--threads", str(count)))


LOWERED = Condition(
    {
        "ATEN_CPU_CAPABILITY": "default",
        "ONEDNN_MAX_CPU_ISA": "SSE41",
        "DNNL_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "MKL_CBWR": "COMPATIBLE",
        "NPY_DISABLE_CPU_FEATURES": _numpy_features(),
        "OPENBLAS_CORETYPE": "Prescott",
        "JSIMD_FORCENONE": "1",
        # the C library's own mathematics: without FMA, as on a processor that has none
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable,-FMA4,-FMA4_Usable,-AVX512F",
    }
)
USER = Condition(
    {
        "PYTHONHASHSEED": "12345",
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
        "TZ": "Asia/Kathmandu",
        "COLUMNS": "40",
    }
)
ODD = Condition(options=("--odd",))
CONDITIONS = {
    "as it is": Condition(),
    "AVX2's kernels where there is AVX-512": Condition({"BPSTA_CPU_ISA": "avx2"}, missing=_wide()),
    "AVX-512's tiles where there is AVX2": Condition({"BPSTA_CPU_ISA": "wide-emulated"}),
    "libraries held to older instructions": LOWERED,
    "two threads": _threads(2),
    "three threads": _threads(3),
    "odd addresses": ODD,
    "another hash seed, language and time zone": USER,
    "an emulated processor": Condition(
        command=(EMULATOR, "-cpu", EMULATED),
        missing="" if shutil.which(EMULATOR) else f"{EMULATOR} is not installed (Debian's package qemu-user)",
    ),
}
"""Each by itself."""
TOGETHER = {
    "as it is": CONDITIONS["as it is"],
    "two threads, older instructions, another user": _threads(2) | LOWERED | USER,
    "three threads, AVX-512's tiles, odd addresses": _threads(3)
    | CONDITIONS["AVX-512's tiles where there is AVX2"]
    | ODD,
    "AVX2's kernels where there is AVX-512": CONDITIONS["AVX2's kernels where there is AVX-512"],
}
"""The same in as few processes as can be: where all at once changes nothing, none of them does."""


def environment(condition):
    """The variables of a process under `condition`, with none of those that choose instructions here."""
    kept = {name: value for name, value in os.environ.items() if name not in {*CHOOSING, "BPSTA_CPU_ISA"}}
    return kept | {"PYTHONPATH": str(HERE.parents[1]), "OMP_NUM_THREADS": "1"} | condition.environment


def usable():
    """Why bytes are not promised on this machine; empty where they are."""
    import torch

    from bpsta_cli.kernels.cpu.library import unsupported_reason

    if platform.machine() != "x86_64":
        return f"bytes are promised on x86-64, and this is {platform.machine()}"
    return unsupported_reason(torch.device("cpu"), torch.float32, None)
