"""A wheel holds the kernels, compiled; they run where there is no compiler, and where they do not fit that is told."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from bpsta_cli.errors import BpstaWarning
from bpsta_cli.kernels import dispatch, lif
from bpsta_cli.kernels.cpu import compilation, library

ROOT = Path(__file__).parent.parent
BUILT = "bpsta_cli/kernels/cpu/built"
needs_kernel = pytest.mark.skipif(dispatch.choose().name != "cpu", reason="no compiled kernels here")

COPIES = """#!/bin/sh
# stands for g++: what the tests have compiled already is copied, as it would be compiled again
from=probe
while [ $# -gt 0 ]; do
    case $1 in
    -fopenmp) [ $from = probe ] && from=kernels ;;
    -mavx512f) from=wide ;;
    -o) to=$2 ;;
    esac
    shift
done
case $to in
*.so) cp "$COMPILED/$from" "$to" ;;
*) : > "$to" ;;
esac
"""
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"
RUN = """
import warnings
warnings.simplefilter("error")
import torch, bpsta_cli
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import library
x = torch.linspace(0, 1, 24).reshape(4, 6).requires_grad_()
bpsta_cli.lif(x).sum().backward()
print(dispatch.choose().name, library.isa(), library.origin(), bpsta_cli.__file__)
print(x.grad.double().sum().item())
print({line.split()[-1] for line in open("/proc/self/maps") if "omp" in line.split("/")[-1]})
"""


def build(folder, **environment):
    """The wheel of a copy of the sources, in which nothing was built before."""
    sources = folder / "sources"
    shutil.copytree(ROOT / "bpsta_cli", sources / "bpsta_cli", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, sources / name)
    subprocess.run(
        [sys.executable, "-c", BUILD, str(folder)], cwd=sources, check=True, capture_output=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    (wheel,) = folder.glob("*.whl")
    return wheel


def run(folder, **environment):
    """What the package in `folder` says where there is no compiler, and nothing is kept in a cache."""
    environment = {"PYTHONPATH": str(folder), "PATH": "", "BPSTA_CACHE": str(folder / "cache"), **environment}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    assert not (folder / "cache").exists()
    return done.stdout.splitlines()


@needs_kernel
def test_the_wheel_of_every_python_holds_kernels_that_run_without_a_compiler(tmp_path):
    compiled, tools = tmp_path / "compiled", tmp_path / "tools"
    compiled.mkdir()
    tools.mkdir()
    folder = library.cache_folder()
    version = compilation.stdout(shutil.which("g++"), "-dumpfullversion", "-dumpmachine")
    openmp = Path(library._torch_openmp()).name
    kernels = compilation.digest(library.SOURCES, library.FLAGS + library.ISAS[library.isa()], version, openmp)
    probe = compilation.digest((compilation.PROBE,), compilation.PROBE_FLAGS, version, openmp)
    for name, digest in {"kernels": kernels, "wide": kernels, "probe": probe}.items():
        shutil.copyfile(folder / f"cpu-{digest}.so", compiled / name)
    (tools / "g++").write_text(COPIES)
    (tools / "g++").chmod(0o755)
    wheel = build(tmp_path, PATH=f"{tools}:{os.environ['PATH']}", COMPILED=str(compiled))

    assert wheel.name.endswith("-py3-none-linux_x86_64.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        opened.extractall(tmp_path / "installed")
        record, page = (
            opened.read(next(name for name in names if name.endswith(end))).decode() for end in ("RECORD", "METADATA")
        )
    expected = {f"{BUILT}/{name}" for name in compilation.built_libraries(["avx2", "avx512"])}
    assert {name for name in names if name.startswith(BUILT)} == expected
    assert all(f"{name},sha256=" in record for name in expected)
    packaged = {file.relative_to(ROOT).as_posix() for file in (ROOT / "bpsta_cli").rglob("*") if file.is_file()}
    assert {name for name in packaged if "__pycache__" not in name} <= set(names)
    assert not [name for name in names if name.startswith(("tests", "pipelines", "setup"))]

    assert "| `bpsta train` |" in page
    assert not re.findall(r"\]\((?!https?://)[^)]*", page), "a link that leads nowhere on an index"

    where, gradient, runtimes = run(tmp_path / "installed", BPSTA_CPU_ISA=library.isa())
    assert where == f"cpu {library.isa()} installed with bpsta {tmp_path / 'installed/bpsta_cli/__init__.py'}"
    assert runtimes.count("libgomp") == 1, "its threads are torch's"
    x = torch.linspace(0, 1, 24).reshape(4, 6).requires_grad_()
    lif(x).sum().backward()
    assert float(gradient) == x.grad.double().sum().item()


def test_a_wheel_without_kernels_is_for_every_machine(tmp_path):
    wheel = build(tmp_path, BPSTA_WHEEL_ISAS="")
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as opened:
        assert not [name for name in opened.namelist() if name.endswith(".so")]


@pytest.mark.skipif(os.environ.get("BPSTA_SLOW") != "1", reason="set BPSTA_SLOW=1 to compile a whole wheel")
@needs_kernel
def test_a_wheel_compiled_afresh_gives_the_same_gradient(tmp_path):
    wheel = build(tmp_path)
    shutil.unpack_archive(wheel, tmp_path / "installed", "zip")
    where, gradient, _ = run(tmp_path / "installed")
    assert where.startswith(f"cpu {library.isa()} installed with bpsta ")
    (tmp_path / "pure").mkdir()
    shutil.copytree(ROOT / "bpsta_cli", tmp_path / "pure" / "bpsta_cli")
    reference, of_reference, _ = run(tmp_path / "pure")
    assert reference.startswith("reference ")
    assert float(gradient) == pytest.approx(float(of_reference), rel=1e-6)


# What is built beside the sources, by hand

SOURCE = 'extern "C" long long answer_float32() { return 42; }\n'


@pytest.fixture
def built(tmp_path, monkeypatch):
    """A folder like that of a wheel, with one small library in it."""
    source, folder = tmp_path / "answer.cpp", tmp_path / "built"
    source.write_text(SOURCE)
    folder.mkdir()
    flags = (*library.FLAGS, *library.ISAS[library.isa()])
    made = compilation.compile_library("g++", (source,), flags, tmp_path)
    shutil.copyfile(made, folder / f"avx2-{compilation.digest((source,), flags)}.so")
    monkeypatch.setattr(library, "SOURCES", (source,))
    monkeypatch.setattr(library, "BUILT", folder)
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path / "cache"))
    library._library.cache_clear()
    yield folder
    library._library.cache_clear()


def answer():
    return library.native_function("answer", torch.float32)()


@needs_kernel
def test_what_was_installed_is_loaded_and_nothing_compiled(built, tmp_path):
    assert answer() == 42
    assert library.origin() == "installed with bpsta"
    assert not (tmp_path / "cache").exists()


@needs_kernel
def test_sources_that_changed_after_the_build_are_compiled(built):
    library.SOURCES[0].write_text(SOURCE.replace("42", "43"))
    assert answer() == 43
    assert library.origin().startswith("compiled on first use")


@needs_kernel
def test_a_library_that_cannot_be_loaded_is_told_in_a_line_and_compiled_here(built):
    next(built.iterdir()).write_bytes(b"no library")
    with pytest.warns(BpstaWarning, match="^the kernels that were installed with bpsta are not used: [^\n]+$"):
        assert answer() == 42


@needs_kernel
def test_a_torch_with_threads_of_another_name_is_told_and_the_library_compiled_for_it(built, monkeypatch, tmp_path):
    other = tmp_path / "libgomp-a34b3233.so.1"
    other.symlink_to(library._torch_openmp() if Path(library._torch_openmp()).is_absolute() else "/nowhere")
    monkeypatch.setattr(library, "_torch_openmp", lambda: str(other))
    with pytest.warns(BpstaWarning, match=r"share threads with libgomp\.so\.1, and torch \S+ brings libgomp-a34b3233"):
        assert answer() == 42
    assert library.origin().startswith("compiled on first use")
