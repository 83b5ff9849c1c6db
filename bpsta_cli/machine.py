"""What of a machine decides the last bits of a run where the compiled kernels do not run. No torch."""

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
VECTOR_FLAGS = ("sse", "ssse", "avx", "fma", "f16c", "amx")
"""How the processor's flags begin that say which vector instructions it has."""
CHOOSING = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_CPU_ISA_HINTS",
    "DNNL_DEFAULT_FPMATH_MODE",
    "DNNL_MAX_CPU_ISA",
    "GLIBC_TUNABLES",
    "MKL_CBWR",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "NPY_DISABLE_CPU_FEATURES",
    "NPY_ENABLE_CPU_FEATURES",
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
    "OPENBLAS_CORETYPE",
)
"""Environment variables by which torch, oneDNN, MKL, the C library and numpy choose other instructions or sums."""
CONFIG = {
    "MKL": re.compile(r"Math Kernel Library Version (\S+?)-Product Build (\d+)"),
    "oneDNN": re.compile(r"(?:MKL-DNN|oneDNN) (v\S+) \(Git Hash (\w{12})"),
}
"""Where torch's description of its build names the libraries that sum for it: version and build."""


@dataclass(frozen=True)
class Machine:
    """What decides the last bits of a run that torch's own operations compute, beside code, settings, data and threads.

    Two such runs that are equal in all of that and in every field here give the same bytes; the compiled kernels give
    the same bytes on any machine. The libraries choose their kernels by the processor's model and instructions, and cut
    matrices into blocks, so sums into parts, by the size of the caches. A field that cannot be read here is empty.

    Attributes:
        processor: vendor, family, model, stepping and name: "GenuineIntel 6-207-2 Intel(R) Xeon(R) Processor".
        caches: of the first core, with the number of logical processors that share each: "L1d 48K/1, L2 2048K/1".
        instructions: the processor's vector instructions by the system's names, sorted. With `environment` they
            decide what oneDNN and MKL use, which torch does not tell.
        capability: the instructions of torch's own loops: "AVX512".
        environment: the variables of CHOOSING that are set, "NAME=value" each.
        builds: torch, its MKL and oneDNN, and the C library, each with version and build.
    """

    processor: str
    caches: str
    instructions: str
    capability: str
    environment: str
    builds: str


def machine() -> Machine:
    """This machine, as the process sees it; of torch only where it is loaded."""
    facts = _cpuinfo(_text(CPUINFO))
    capability, builds = "", {}
    if "torch" in sys.modules:
        import torch

        capability = torch.backends.cpu.get_cpu_capability()
        builds = {"torch": torch.__version__, **_named_in(torch.__config__.show())}
    if libc := " ".join(platform.libc_ver()).strip():
        builds["libc"] = libc
    return Machine(
        processor=_processor(facts),
        caches=_caches(CACHES),
        instructions=" ".join(sorted(f for f in facts.get("flags", "").split() if f.startswith(VECTOR_FLAGS))),
        capability=capability,
        environment=" ".join(f"{name}={os.environ[name]}" for name in CHOOSING if name in os.environ),
        builds=", ".join(f"{name} {version}" for name, version in builds.items()),
    )


def _cpuinfo(text: str) -> dict[str, str]:
    """The facts of the first processor."""
    lines = (line.partition(":") for line in text.partition("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _processor(facts: dict[str, str]) -> str:
    if "vendor_id" not in facts:  # not Linux on x86
        return ""
    numbers = "-".join(facts.get(name, "?") for name in ("cpu family", "model", "stepping"))
    return f"{facts['vendor_id']} {numbers} {facts.get('model name', '')}".strip()


def _caches(folder: Path) -> str:
    caches = []
    for index in sorted(folder.glob("index*")):
        level, kind, size, sharers = (_text(index / name) for name in ("level", "type", "size", "shared_cpu_list"))
        suffix = {"Data": "d", "Instruction": "i"}.get(kind, "")
        caches.append(f"L{level}{suffix} {size}/{_count(sharers)}")
    return ", ".join(caches)


def _count(processors: str) -> int:
    """How many "0-2,64-66" are."""
    ends = ([int(end) for end in part.split("-")] for part in processors.split(",") if part)
    return sum(pair[-1] - pair[0] + 1 for pair in ends)


def _named_in(config: str) -> dict[str, str]:
    found = {name: pattern.search(config) for name, pattern in CONFIG.items()}
    return {name: " ".join(match.groups()) for name, match in found.items() if match}


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
