import subprocess
import sys

import pytest

from bpsta_cli import provenance as p


@pytest.fixture(autouse=True)
def _forget():
    def forget():
        p.commit.cache_clear()
        p.code_hash.cache_clear()

    forget()
    yield
    forget()


def git(folder, *arguments):
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A checkout with a package in it that stands for this one."""
    folder = tmp_path / "bpsta_cli"
    (folder / "cli").mkdir(parents=True)
    (folder / "kernels").mkdir()
    for name in ("__init__.py", "rules.py", "cli/main.py", "kernels/cpu.cpp", "kernels/README.md"):
        (folder / name).write_text(name)
    (tmp_path / "results.json").write_text("{}")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "all")
    monkeypatch.setattr(p, "PACKAGE", folder)
    return folder


def test_the_commit_is_that_of_a_clean_checkout(package):
    assert p.commit() == git(package, "rev-parse", "HEAD")


def test_changed_results_do_not_make_it_dirty_and_changed_code_does(package):
    (package.parent / "results.json").write_text("[]")
    assert not p.commit().endswith("-dirty")
    p.commit.cache_clear()
    (package / "rules.py").write_text("other")
    assert p.commit() == git(package, "rev-parse", "HEAD") + "-dirty"


@pytest.mark.parametrize("name", ["bpsta_cli/new.py", "params.yaml"])
def test_new_code_and_new_settings_make_it_dirty(package, name):
    (package.parent / name).write_text("new")
    assert p.commit().endswith("-dirty")


def test_outside_of_a_checkout_there_is_no_commit(tmp_path, monkeypatch):
    folder = tmp_path / "bpsta_cli"
    folder.mkdir()
    monkeypatch.setattr(p, "PACKAGE", folder)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert p.commit() == "none"


def test_a_package_installed_inside_another_checkout_is_not_of_its_commit(package, monkeypatch):
    installed = package.parent / "venv" / "bpsta_cli"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    monkeypatch.setattr(p, "PACKAGE", installed)
    assert p.commit() == "none"


def test_without_git_there_is_no_commit(package, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert p.commit() == "none"


@pytest.mark.parametrize(
    ("name", "matters"),
    [
        ("rules.py", True),
        ("kernels/cpu.cpp", True),
        ("kernels/rules.hpp", True),
        ("kernels/new.py", True),
        ("kernels/README.md", False),
        ("cli/main.py", False),
    ],
)
def test_the_code_hash_changes_with_what_decides_numbers_alone(package, name, matters):
    before = p.code_hash()
    p.code_hash.cache_clear()
    (package / name).write_text("changed")
    assert (p.code_hash() != before) == matters


def test_a_renamed_module_is_other_code(package):
    before = p.code_hash()
    p.code_hash.cache_clear()
    (package / "rules.py").rename(package / "sluer.py")
    assert p.code_hash() != before


def test_every_result_says_what_made_it():
    found = p.provenance("cpu", 3)
    assert set(found) == {"commit", "code", "python", "libraries", "device", "machine", "threads"}
    assert (found["device"], found["threads"]) == ("cpu", 3)
    assert {"torch", "numpy"} <= set(found["libraries"])
    assert None not in found["libraries"].values()


def test_the_device_is_told_in_words():
    assert p.device_name("cpu").startswith("cpu (")


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
    monkeypatch.setattr(p, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(p, "CACHES", tmp_path / "cache")
    for name in p.CHOOSING:
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
    found = p.machine()
    assert (found.processor, found.instructions) == (processor, instructions)


def test_where_the_system_tells_nothing_the_processor_and_the_caches_are_empty(computer):
    (computer / "cpuinfo").unlink()
    found = p.machine()
    assert (found.processor, found.caches, found.instructions, found.environment) == ("", "", "", "")


@pytest.mark.parametrize(("sharers", "count"), [("0", 1), ("0,64", 2), ("0-7", 8), ("0-2,64-66", 6)])
def test_a_cache_is_told_with_how_many_processors_share_it(computer, sharers, count):
    write_cache(computer, 0, 1, "Data", "48K", "0")
    write_cache(computer, 1, 1, "Instruction", "32K", "0")
    write_cache(computer, 2, 3, "Unified", "266240K", sharers)
    assert p.machine().caches == f"L1d 48K/1, L1i 32K/1, L3 266240K/{count}"


@pytest.mark.parametrize("name", p.CHOOSING)
def test_a_variable_that_chooses_instructions_makes_another_machine(computer, monkeypatch, name):
    before = p.machine()
    assert before.environment == ""
    monkeypatch.setenv(name, "AVX2")
    assert p.machine().environment == f"{name}=AVX2"


def test_a_machine_names_the_builds_that_sum(computer):
    import torch

    builds = p.machine().builds
    assert f"torch {torch.__version__}" in builds
    assert p.machine().capability == torch.backends.cpu.get_cpu_capability()


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
    assert p._named_in(config) == found


def test_the_libraries_of_this_torch_are_found():
    import torch

    named = p._named_in(torch.__config__.show())
    assert ("MKL" in named, "oneDNN" in named) == (
        torch.backends.mkl.is_available(),
        torch.backends.mkldnn.is_available(),
    )


def test_it_loads_no_torch():
    script = "import sys; from bpsta_cli.provenance import *; provenance(device_name('cpu'), 1); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "bpsta_cli.provenance" in done.stdout.split()
    assert "torch" not in done.stdout.split()


def test_a_rule_file_counts_as_code(tmp_path):
    rule = tmp_path / "rule.py"
    rule.write_text("a = 1")
    first = p.provenance("cpu", 1, method=str(rule))["code"]
    rule.write_text("a = 2")
    assert p.provenance("cpu", 1, method=str(rule))["code"] != first
    assert p.provenance("cpu", 1, method="bpsta")["code"] == p.code_hash()
