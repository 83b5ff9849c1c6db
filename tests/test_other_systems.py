"""What Windows and macOS lack is not needed: played here by hiding it from a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli import locks
from bpsta_cli.files import replacing, sweep

HIDDEN = """
import os, pkgutil, signal, sys, tempfile, warnings
# these and Python's own modules know what they do on each system
import joblib.externals.loky, platformdirs, torch, torch._dynamo

sys.modules["fcntl"] = sys.modules["resource"] = None
for name in ("sched_getaffinity", "fchmod", "getuid", "geteuid", "sysconf", "pwrite", "uname", "O_NOFOLLOW",
             "O_DIRECTORY", "O_CLOEXEC"):
    delattr(os, name)
del signal.SIGHUP
import platform
platform.machine = lambda: "arm64"
sys.modules.pop("filelock", None)
for name in [name for name in sys.modules if name.startswith("filelock.")]:
    del sys.modules[name]

import bpsta_cli
for module in pkgutil.walk_packages(bpsta_cli.__path__, "bpsta_cli."):
    if not module.name.endswith(("__main__", "gpu.kernels", "gpu.rules", "gpu.tiles")):  # in Triton's language
        __import__(module.name)
from bpsta_cli.cli.main import run
from bpsta_cli.kernels import dispatch
print(dispatch.choose())
network = ["--network", "4C3-MP2-AP4-10Voting", "--train-samples", "40", "--batch-size", "20"]
train = ["train", "--dataset", "digits", "--T", "2", "--epochs", "2", *network, "--threads", "1", "--out", "run"]
print(run(train), run([*train, "--resume"]), run(["eval", "run", "--samples", "20"]))
"""


def test_a_system_without_posix_imports_every_module_and_trains_with_the_reference(tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "BPSTA_CACHE": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Choice(name='reference', why='cpu does not support this: it is written for Linux on")
    assert lines[-1] == "0 0 0"
    assert "without locks" in done.stderr
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / "run" / "run.lock").exists()


@pytest.fixture
def _as_on_windows(monkeypatch):
    """An open file can be neither renamed nor removed, and is closed before."""
    replace, unlink = Path.replace, Path.unlink

    def refuse_open(file):
        if any(Path(link).samefile(file) for link in Path("/proc/self/fd").iterdir() if Path(link).is_file()):
            raise PermissionError(13, "The process cannot access the file", str(file))

    def checked_replace(self, target):
        refuse_open(self)
        return replace(self, target)

    def checked_unlink(self, missing_ok=False):
        if self.exists():
            refuse_open(self)
        return unlink(self, missing_ok=missing_ok)

    monkeypatch.setattr(locks, "CLOSE_FIRST", True)
    monkeypatch.setattr(Path, "replace", checked_replace)
    monkeypatch.setattr(Path, "unlink", checked_unlink)


@pytest.mark.usefixtures("_as_on_windows")
def test_where_open_files_stay_they_are_closed_before_they_are_renamed_or_removed(tmp_path):
    from bpsta_cli.training.run_lock import held

    left = tmp_path / ".file.abcdefgh.partial"
    left.touch()
    sweep(tmp_path)
    assert not left.exists()
    with replacing(tmp_path / "file") as file:
        file.write(b"new")
        sweep(tmp_path)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"new")]
    with held(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def test_memory_without_a_number_from_the_system_is_no_limit(monkeypatch):
    import torch

    from bpsta_cli import devices

    monkeypatch.delattr(os, "sysconf")
    monkeypatch.setattr(devices, "CGROUP_LIMITS", ())
    monkeypatch.setitem(sys.modules, "resource", None)
    assert devices.memory_bytes(torch.device("cpu")) == sys.maxsize
