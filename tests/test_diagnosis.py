"""`bpsta doctor` names what is broken or missing, and one thing to do about each; it never fails itself."""

import json

import pytest

from bpsta_cli import diagnosis, packages
from bpsta_cli.cli.main import run
from bpsta_cli.diagnosis import ABSENT, BROKEN, OK
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.cpu import library

dispatch.choose()  # compiles the kernels, where they are not yet, before the cache folder is another


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir(mode=0o700)


@pytest.fixture
def without_kernels(monkeypatch):
    def say(reason):
        monkeypatch.setattr(library, "_library", lambda: reason)

    return say


def finding(name, data_dir):
    return {each.name: each for each in diagnosis.findings(data_dir)}[name]


def test_each_kernel_tells_where_it_is_from(tmp_path, without_kernels):
    here = finding("CPU kernels", tmp_path)
    assert here.state in (OK, ABSENT)
    without_kernels("there is no compiler g++")
    told = finding("CPU kernels", tmp_path)
    assert told.state == ABSENT
    assert told.found == "reference kernel, slower and with the same spikes: there is no compiler g++"
    assert "apt-get install g++" in told.mend


@pytest.mark.parametrize(
    "reason",
    ["the compiler failed: x", "the kernel could not be built or loaded: x", "BPSTA_CPU_ISA is sse, none of avx2"],
)
def test_what_can_be_mended_says_how(reason, tmp_path, without_kernels):
    without_kernels(reason)
    assert finding("CPU kernels", tmp_path).mend


def test_a_needed_package_that_is_gone_makes_it_unusable_and_the_rest_is_still_told(tmp_path, monkeypatch, capsys):
    gone = packages.Package("no_such_module", "no-such-package", "everything")
    monkeypatch.setattr(diagnosis, "NEEDED", (*diagnosis.NEEDED, gone))
    assert run(["doctor", "--json", "--data-dir", str(tmp_path)]) == 1
    told = json.loads(capsys.readouterr().out)
    assert not told["usable"]
    (broken,) = (each for each in told["findings"] if each["state"] == BROKEN)
    assert broken["mend"] == "pip install no-such-package"
    assert told["findings"][-1]["name"] == "cache folder"


def test_a_check_that_breaks_is_told_as_broken(tmp_path, monkeypatch):
    def breaks():
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(diagnosis, "_gpu", breaks)
    told = finding("GPU", tmp_path)
    assert (told.state, told.found) == (BROKEN, "operator torchvision::nms does not exist")
    assert told.mend


def test_a_check_that_lacks_a_package_says_which(tmp_path, monkeypatch):
    def lacks():
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(diagnosis, "_gpu", lacks)
    assert finding("GPU", tmp_path).mend == "pip install torch"


def test_folders_that_cannot_be_used_are_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    assert finding("data folder", tmp_path / "file" / "data").state == BROKEN
    assert finding("data folder", tmp_path / "new").state == OK
    (tmp_path / "cache").chmod(0o777)
    told = finding("cache folder", tmp_path)
    assert (told.state, told.mend) == (ABSENT, f"chmod go-w {tmp_path / 'cache'}")


def test_a_healthy_machine_ends_with_0(tmp_path, capsys):
    assert run(["doctor", "--data-dir", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    assert "ok      torch: " in told
    assert "CPU kernels: " in told
