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
    for name in ("__init__.py", "surrogates.py", "cli/main.py", "kernels/cpu.cpp", "kernels/README.md"):
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
    (package / "surrogates.py").write_text("other")
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
        ("surrogates.py", True),
        ("kernels/cpu.cpp", True),
        ("kernels/rules.hpp", True),
        ("kernels/new.py", True),
        ("kernels/README.md", False),
        ("kernels/avx2.so", False),
        ("errors.py", False),
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
    (package / "surrogates.py").rename(package / "sluer.py")
    assert p.code_hash() != before


def test_every_result_says_what_made_it():
    found = p.provenance("cpu", 3)
    assert set(found) == {"commit", "code", "python", "libraries", "device", "machine", "threads"}
    assert (found["device"], found["threads"]) == ("cpu", 3)
    assert {"torch", "numpy"} <= set(found["libraries"])
    assert None not in found["libraries"].values()


def test_the_device_is_told_in_words():
    assert p.device_name("cpu").startswith("cpu (")


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
