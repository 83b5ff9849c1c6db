"""What identifies a machine for equal bytes, on computers that are written down."""

import pytest
import torch

from bpsta_cli import machine as m

INTEL = """processor	: 0
vendor_id	: GenuineIntel
cpu family	: 6
model		: 207
model name	: Intel(R) Xeon(R) Processor
stepping	: 2
cache size	: 266240 KB
flags		: fpu sse sse2 ssse3 fma sse4_1 avx f16c avx2 avx512f avx_vnni rdrand

processor	: 1
vendor_id	: GenuineIntel
stepping	: 9
"""
AMD = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 26
model		: 2
model name	: AMD EPYC 9R45
stepping	: 1
flags		: sse4a fma avx2 avx avx512f misalignsse 3dnowprefetch
"""


@pytest.fixture
def computer(tmp_path, monkeypatch):
    """A machine of which each test writes down what it has; no variable chooses instructions."""
    monkeypatch.setattr(m, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(m, "CACHES", tmp_path / "cache")
    for name in m.CHOOSING:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "cpuinfo").write_text(INTEL)
    return tmp_path


def write_cache(computer, index, level, kind, size, sharers):
    folder = computer / "cache" / f"index{index}"
    folder.mkdir(parents=True)
    for name, value in {"level": level, "type": kind, "size": size, "shared_cpu_list": sharers}.items():
        (folder / name).write_text(f"{value}\n")


@pytest.mark.parametrize(
    ("cpuinfo", "processor", "instructions"),
    [
        (
            INTEL,
            "GenuineIntel 6-207-2 Intel(R) Xeon(R) Processor",
            "avx avx2 avx512f avx_vnni f16c fma sse sse2 sse4_1 ssse3",
        ),
        (AMD, "AuthenticAMD 26-2-1 AMD EPYC 9R45", "avx avx2 avx512f fma sse4a"),
        ("vendor_id : x\nmodel : 1\n", "x ?-1-?", ""),
        ("processor : 0\nCPU implementer : 0x41\n", "", ""),
        ("", "", ""),
    ],
)
def test_a_machine_is_known_by_its_first_processor_and_its_vector_instructions(
    computer, cpuinfo, processor, instructions
):
    (computer / "cpuinfo").write_text(cpuinfo)
    found = m.machine()
    assert (found.processor, found.instructions) == (processor, instructions)


def test_where_the_system_tells_nothing_the_processor_and_the_caches_are_empty(computer):
    (computer / "cpuinfo").unlink()
    found = m.machine()
    assert (found.processor, found.caches, found.instructions, found.environment) == ("", "", "", "")


@pytest.mark.parametrize(("sharers", "count"), [("0", 1), ("0,64", 2), ("0-7", 8), ("0-2,64-66", 6)])
def test_a_cache_is_told_with_how_many_processors_share_it(computer, sharers, count):
    write_cache(computer, 0, 1, "Data", "48K", "0")
    write_cache(computer, 1, 1, "Instruction", "32K", "0")
    write_cache(computer, 2, 3, "Unified", "266240K", sharers)
    assert m.machine().caches == f"L1d 48K/1, L1i 32K/1, L3 266240K/{count}"


@pytest.mark.parametrize("name", m.CHOOSING)
def test_a_variable_that_chooses_instructions_makes_another_machine(computer, monkeypatch, name):
    before = m.machine()
    assert before.environment == ""
    monkeypatch.setenv(name, "AVX2")
    assert m.machine().environment == f"{name}=AVX2"


def test_a_machine_names_the_builds_that_sum(computer):

    builds = m.machine().builds
    assert f"torch {torch.__version__}" in builds
    assert m.machine().capability == torch.backends.cpu.get_cpu_capability()


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (
            "  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64\n"
            "  - Intel(R) MKL-DNN v3.12.0 (Git Hash 80afa71049cd69a3df32adcccb623b12cd7baa22)\n",
            {"MKL": "2024.2 20240605", "oneDNN": "v3.12.0 80afa71049cd"},
        ),
        ("  - oneDNN v3.9.1 (Git Hash aaaaaaaaaaaabbbb)\n", {"oneDNN": "v3.9.1 aaaaaaaaaaaa"}),
        ("PyTorch built with:\n  - GCC 13.3\n", {}),
    ],
)
def test_torchs_own_description_names_the_versions_of_its_libraries(config, found):
    assert m._named_in(config) == found


def test_the_libraries_of_this_torch_are_found():

    named = m._named_in(torch.__config__.show())
    assert ("MKL" in named, "oneDNN" in named) == (
        torch.backends.mkl.is_available(),
        torch.backends.mkldnn.is_available(),
    )
