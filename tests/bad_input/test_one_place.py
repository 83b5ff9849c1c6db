"""Files that a user can give are opened by `bpsta_cli.reading` alone."""

import ast
from pathlib import Path

import pytest

import bpsta_cli

PACKAGE = Path(bpsta_cli.__file__).parent
FORBIDDEN = {
    "read_bytes", "read_text", "safe_load", "fromfile", "memmap", "load_file", "read_csv", "safe_open", "loadtxt",
    "genfromtxt", "open", "load", "loads", "model_validate_json", "read",
}  # fmt: skip
"""Methods and functions that open or decode a file."""
SAFE = {"read", "load", "loads", "open"}
"""Of these, only calls of a module or a path count: `file.read()` of an opened file is no opening."""
MODULES = {
    "np",
    "numpy",
    "json",
    "yaml",
    "pyyaml",
    "pickle",
    "torch",
    "tomllib",
    "soundfile",
    "Image",
    "pd",
    "gzip",
    "zipfile",
    "io",
}
OWN = {
    "kernels/cpu/cache.py": "the library that it compiled, from a folder that nobody else can write to",
    "kernels/cpu/compilation.py": "the package's own sources",
    "machine.py": "/proc and /sys",
    "devices.py": "/sys: the limit of a container",
    "provenance.py": "the package's own sources; the rule file that a run names is code, and is run",
    "files.py": "writes",
    "tuning/outcome.py": "the history that a training has just written, without the columns of the test part",
    "sharing/model_card.py": "the package's own template",
    "reporting/page.py": "the package's own template, and the pictures that the report just wrote",
    "reporting/paper/literature.py": "a table of the package",
    "reporting/claims/definition.py": "a table of the package",
    "data/catalogue.py": "the package's own catalogue",
    "data/downloads.py": "its own marker files, and checksums of what it fetched",
    "data/store/write.py": "the array that it writes",
    "data/store/build.py": "its own lock",
    "data/datasets/cifar.py": "bytes that were read by `reading.opened`, mapped; a pickle of plain values",
    "data/formats/idx.py": "bytes whose length `reading.opened` has checked, mapped",
    "data/formats/images.py": "a picture from a file that `reading.opened` has opened",
    "training/run_lock.py": "its own lock, of which it reads a thousand characters",
    "training/checkpoint.py": "the training state that another process of the same run has sent",
    "training/checkpoint_files.py": "words of a file that `reading.tensors` opened, its checksum checked",
    "cli/streams.py": "/dev/null, to write",
    "cli/report.py": "a web browser",
}
"""What else opens files, and which: nothing that a user hands in unchecked."""


def openings(source: str):
    """Calls in a module that open or decode a file, as (line, name)."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id == "open":
            yield node.lineno, "open"
        elif isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN:
            owner = node.func.value
            module = owner.id if isinstance(owner, ast.Name) else ""
            if node.func.attr not in SAFE or module in MODULES or (node.func.attr == "open" and module != "reading"):
                yield node.lineno, node.func.attr


def test_files_are_opened_in_one_place():
    found = {}
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        calls = list(openings(file.read_text(encoding="utf-8")))
        if calls and not name.startswith("reading/"):
            found[name] = calls
    assert found.keys() <= OWN.keys()


@pytest.mark.parametrize(
    "line", ["open(p)", "p.open()", "p.read_text()", "np.load(p)", "json.load(p)", "yaml.safe_load(t)", "torch.load(p)"]
)
def test_a_second_place_would_be_found(line):
    assert list(openings(line))
