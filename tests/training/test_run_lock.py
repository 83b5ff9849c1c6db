"""Two trainings in one directory: the second is told who holds it, changes nothing, and a killed holder frees it."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from training_runs import CPU, run

from bpsta_cli.errors import BpstaWarning, RunError
from bpsta_cli.training import train
from bpsta_cli.training.run_lock import FILE, held

HOLD = """
import sys
from pathlib import Path
from bpsta_cli.training.run_lock import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def contents(folder):
    return {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in folder.iterdir()}


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of tmp_path/run."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}, {"resume": True, "overwrite": True}])
def test_a_second_training_is_refused_and_told_who_holds_the_directory(how, settings, digits, tmp_path, holder):
    (tmp_path / "run" / "settings.json").write_text("{}")
    before = contents(tmp_path / "run")
    host = os.uname().nodename
    with pytest.raises(
        RunError, match=rf"in use: expected .* got .*run, held by process {holder.pid} on {host} since \d{{4}}-.* UTC\."
    ):
        run(settings(), digits, tmp_path / "run", **how)
    assert contents(tmp_path / "run") == before


def test_a_holder_that_is_killed_frees_the_directory(settings, digits, tmp_path, holder):
    holder.kill()
    holder.wait()
    assert json.loads((tmp_path / "run" / FILE).read_text())["pid"] == holder.pid
    done, _ = run(settings(), digits, tmp_path / "run")
    assert done.finished
    assert not (tmp_path / "run" / FILE).exists()


def test_a_training_under_way_keeps_a_second_out_and_one_that_stopped_does_not(settings, digits, tmp_path):
    events = train(settings(), digits, tmp_path / "run", device=CPU)
    next(events)
    with pytest.raises(RunError, match=f"held by process {os.getpid()}"):
        run(settings(), digits, tmp_path / "run", resume=True, overwrite=True)
    events.close()
    assert run(settings(), digits, tmp_path / "run", resume=True)[0].finished


def test_other_directories_are_free_and_the_lock_leaves_nothing(tmp_path):
    with held(tmp_path / "a"), held(tmp_path / "b"):
        assert {file.name for file in (tmp_path / "a").iterdir()} == {FILE}
    with held(tmp_path / "a"):
        pass
    assert list((tmp_path / "a").iterdir()) == []


def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_anew(tmp_path, monkeypatch):
    taken = []

    def flock(descriptor, how):
        if not taken:  # the holder ends between the opening of the file and the lock on it
            (tmp_path / FILE).unlink()
        taken.append(descriptor)

    monkeypatch.setattr(fcntl, "flock", flock)
    with held(tmp_path):
        assert (tmp_path / FILE).is_file()
    assert len(taken) == 2


@pytest.mark.parametrize("content", ["", "{", "[]", "7", '{"pid": "x"}', "\x00" * 2000])
def test_a_holder_that_cannot_be_read_is_another_process(content, tmp_path):
    with (tmp_path / FILE).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(content)
        file.flush()
        with pytest.raises(RunError, match="held by another process"), held(tmp_path):
            pass


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch):
    def flock(descriptor, how):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(BpstaWarning, match="without locks"), held(tmp_path):
        pass


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: Path(path).symlink_to("/etc/passwd")])
def test_something_else_under_the_locks_name_is_told_and_left(make, tmp_path):
    make(str(tmp_path / FILE))
    before = os.lstat(tmp_path / FILE).st_ino
    with pytest.raises(OSError, match=FILE), held(tmp_path):
        pass
    assert os.lstat(tmp_path / FILE).st_ino == before


def test_a_file_in_the_directorys_place_is_refused(settings, digits, tmp_path):
    Path(tmp_path / "run").write_text("mine")
    with pytest.raises(RunError, match="the run directory is a file"):
        run(settings(), digits, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run").read_text() == "mine"
