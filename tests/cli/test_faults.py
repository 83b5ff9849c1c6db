"""A full disk, a limit on files, too little memory, a reader that leaves: told, and nothing half done."""

import errno
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpsta_cli import files
from bpsta_cli.cli import explain
from bpsta_cli.cli.main import run
from bpsta_cli.errors import LINE, SettingsError, shortened
from bpsta_cli.training import checks, epoch

TINY = ["--dataset", "digits", "--T", "2", "--network", "4C3-AP8-10Voting", "--epochs", "2", "--train-samples", "40"]


@pytest.fixture(scope="module")
def trained(data):
    out = data / "runs" / "tiny"
    assert run(["train", *TINY, "--data-dir", str(data), "--out", str(out)]) == 0
    return out


@contextmanager
def files_of_at_most(size):
    """While the context is open, a file of this process cannot grow beyond `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def refusal(capsys, arguments):
    capsys.readouterr()
    assert run([str(argument) for argument in arguments]) == 2
    said = capsys.readouterr().err
    lines = said.rstrip("\n").split("\n")
    assert said.startswith("Error: ")
    assert len(lines) <= 3
    assert all(len(line) <= LINE for line in lines)
    return said


def hidden(folder):
    return [file.name for file in folder.rglob(".*") if file.is_file() and not file.name.endswith(".lock")]


@pytest.mark.parametrize("size", [0, 1000, 2500])
def test_training_on_a_full_disk_says_so_and_leaves_no_half_file(size, capsys, data, tmp_path):
    with files_of_at_most(size):
        said = refusal(capsys, ["train", *TINY, "--data-dir", data, "--out", tmp_path / "run"])
    assert "File too large" in said
    assert str(tmp_path / "run") in said
    assert hidden(tmp_path) == []


@pytest.mark.parametrize("command", ["eval", "energy", "latency"])
def test_measuring_onto_a_full_disk_says_so_and_leaves_no_half_file(command, capsys, data, trained, tmp_path):
    out = tmp_path / "found.json"
    arguments = [command, trained, "--data-dir", data, "--samples", "9", "--out", out]
    with files_of_at_most(10):
        assert str(out.with_suffix("")) in refusal(capsys, arguments + (["--no-clock"] if command == "latency" else []))
    assert list(tmp_path.iterdir()) == []


def test_preparing_onto_a_full_disk_leaves_no_half_store(capsys, tmp_path):
    with files_of_at_most(1000):
        assert "File too large" in refusal(capsys, ["prepare", "--dataset", "digits", "--data-dir", tmp_path])
    assert [file for file in tmp_path.rglob("*") if file.is_file() and file.suffix != ".lock"] == []


@pytest.mark.parametrize("command", ["eval", "energy"])
def test_a_result_goes_neither_onto_a_device_nor_onto_a_folder(command, capsys, data, trained, tmp_path):
    arguments = [command, trained, "--data-dir", data, "--samples", "9", "--out"]
    for place in ("/dev/full", tmp_path):
        assert "no regular file" in refusal(capsys, [*arguments, place])
    assert Path("/dev/full").is_char_device()


@pytest.mark.skipif(os.geteuid() == 0, reason="to root no folder is read-only")
def test_a_folder_that_is_read_only_is_told(capsys, data, tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refusal(capsys, ["train", *TINY, "--data-dir", data, "--out", tmp_path / "run"])


def command(*arguments, **streams):
    return subprocess.run([sys.executable, "-m", "bpsta_cli", *arguments], check=False, **streams)


def test_output_that_finds_no_room_is_told_in_one_line():
    with Path("/dev/full").open("wb") as full:
        for arguments in (["rules"], ["rules", "--json"], ["--help"]):
            done = command(*arguments, stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 2
            assert done.stderr.splitlines()[-1].startswith("Error: No space left on device: the output.")
            assert "Traceback" not in done.stderr


def test_a_closed_pipe_ends_a_command_as_the_signal_would():
    read, write = os.pipe()
    os.close(read)
    done = command("rules", stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_error_that_finds_no_room_is_still_an_exit_code():
    with Path("/dev/full").open("wb") as full:
        assert command("eval", "nowhere", stderr=full).returncode == 2


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 8.00 TiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_too_little_memory_is_told_with_what_to_lower(error, capsys, data, tmp_path, monkeypatch):
    def full(*_arguments):
        raise error

    monkeypatch.setattr(epoch, "_step", full)
    said = refusal(capsys, ["train", *TINY, "--data-dir", data, "--out", tmp_path / "run"])
    assert "not enough memory" in said
    for option in ("--batch-size", "--accumulate", "--recompute", "--T"):
        assert option in said


def test_a_run_beyond_the_memory_is_refused_before_it_begins_with_how_far_to_lower(capsys, data, tmp_path, monkeypatch):
    arguments = ["train", *TINY, "--batch-size", "40", "--data-dir", data, "--out", tmp_path / "run"]
    values = 4 * 8 * 8 + 100
    monkeypatch.setattr(checks, "memory_bytes", lambda _device: 10 * 2 * values * 4)
    said = refusal(capsys, arguments)
    assert "--batch-size 10 or less, or --accumulate 4 or more" in said
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(checks, "memory_bytes", lambda _device: values * 4)
    assert "Lower --T to 1 or less with --batch-size 1" in refusal(capsys, arguments)


def test_an_error_of_ours_is_no_fault_of_the_users():
    assert explain.explanation(RuntimeError("shapes differ")) is None
    assert explain.explanation(KeyError("x")) is None


def test_the_errors_of_a_disk_name_the_file_and_what_to_do(tmp_path):
    for number, todo in ((errno.ENOSPC, "Free some space"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only")):
        (line,) = explain.explanation(OSError(number, os.strerror(number), "some/file"))
        assert "some/file" in line
        assert todo in line
    with pytest.raises(OSError, match=r"a\.txt") as caught, files.replacing(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_a_long_text_loses_its_middle_and_strange_characters_their_effect():
    assert shortened("short") == "short"
    long = shortened("a" * 50_000 + "z" * 50_000)
    assert (len(long) <= LINE, long[0], long[-1]) == (True, "a", "z")
    assert "100,000 characters" in long
    assert shortened("a\x1b[31m\nb\udcff") == r"a\x1b[31m b\udcff"
    assert len(shortened("\x1b" * LINE)) <= LINE


def test_a_device_is_not_replaced_by_a_file():
    with pytest.raises(SettingsError, match="no regular file"):
        files.write_text(Path("/dev/null"), "text")
    assert Path("/dev/null").is_char_device()
