"""The wheel for Linux on x86-64 holds the CPU's kernels, compiled for each set of instructions; any other wheel none.

An index shows README.md as the package's page, without the links and pictures that lead to other files of a clone.

The kernels are plain C++ that is called by addresses (ctypes): they know neither Python's ABI nor torch's, and one
wheel is for every Python. `BPSTA_WHEEL_ISAS` names the instructions, as in "avx2"; empty: none. All else is in
pyproject.toml.
"""

import functools
import os
import re
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build import build

COMPILATION = runpy.run_path(str(Path(__file__).parent / "bpsta_cli/kernels/cpu/compilation.py"))
FOLDER = Path("bpsta_cli/kernels/cpu/built")


@functools.cache
def isas():
    """The instructions that kernels are built for: none where they do not run, or nothing compiles them."""
    if COMPILATION["this_platform"]() != COMPILATION["PLATFORM"]:
        return []
    wanted = os.environ.get("BPSTA_WHEEL_ISAS", "avx2 avx512").split()
    if wanted and shutil.which(COMPILATION["COMPILER"]) is None:
        print(f"no {COMPILATION['COMPILER']} here: the wheel holds no compiled kernels", file=sys.stderr)  # noqa: T201
        return []
    return wanted


def page():
    """README.md for an index."""
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"!\[[^\]]*\]\((?!https?://)[^)]*\)\n*", "", text)
    return re.sub(r"\[([^\]]*)\]\((?!https?://)[^)]*\)", r"\1", text)


class BuildKernels(Command):
    """Compile the kernels into the folder that becomes the wheel; an editable install compiles them on first use."""

    description = "compile the CPU's kernels"
    user_options = ()

    def initialize_options(self):
        self.build_lib = None
        self.editable_mode = False

    def finalize_options(self):
        self.set_undefined_options("build", ("build_lib", "build_lib"))

    def run(self):
        if self.editable_mode:
            return
        folder = Path(self.build_lib) / FOLDER
        shutil.rmtree(folder, ignore_errors=True)  # what an earlier build left there, of other sources
        folder.mkdir(parents=True)
        for name, (sources, flags) in self._libraries().items():
            self.announce(f"compiling {name}", level=2)
            with tempfile.TemporaryDirectory() as place:
                made = COMPILATION["compile_library"](COMPILATION["COMPILER"], sources, flags, Path(place))
                shutil.copyfile(made, folder / name)

    def get_source_files(self):
        return []  # package-data has them

    def get_outputs(self):
        return [str(Path(self.build_lib) / FOLDER / name) for name in self._libraries()]

    def get_output_mapping(self):
        return {}

    def _libraries(self):
        return COMPILATION["built_libraries"](isas())


class Build(build):
    """Python's files, then the kernels where there are any to compile."""

    sub_commands = (*build.sub_commands, ("build_kernels", lambda _: bool(isas())))


class Wheel(bdist_wheel):
    """For one platform where it holds kernels, and for every Python."""

    def get_tag(self):
        _, _, platform = super().get_tag()
        return "py3", "none", platform


class Package(Distribution):
    """Not of Python alone, where kernels are compiled."""

    def has_ext_modules(self):
        return bool(isas())


setup(
    distclass=Package,
    cmdclass={"build": Build, "build_kernels": BuildKernels, "bdist_wheel": Wheel},
    long_description=page(),
    long_description_content_type="text/markdown",
)
