"""pipelines/dvc_locks.py: what a killed DVC leaves is mended, and what a living one holds is left."""

import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import dvc_locks
import pytest
import yaml

ROOT = Path(__file__).parent.parent
WHOLE = b"".join(re.split(rb"(?<=\n)(?=  \S)", (ROOT / "dvc.lock").read_bytes())[:9])
"""The first stages of a real one."""
SLEEP = "import time; print(1, flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dvc_locks.FOLDER.mkdir(parents=True)
    return dvc_locks.FOLDER


@pytest.fixture
def process():
    """Start processes that sleep; a word of their command line says whether they are DVC."""
    started = []

    def start(word):
        each = subprocess.Popen([sys.executable, "-c", SLEEP, word], stdout=subprocess.PIPE)
        started.append(each)
        each.stdout.readline()
        return each

    yield start
    for each in started:
        each.kill()
        each.wait()
        each.stdout.close()


def entry(pid):
    return {"pid": pid, "cmd": f"dvc repro of {pid}"}


def locked(*pids):
    file = dvc_locks.FOLDER / "rwlock"
    file.write_text(
        json.dumps({"write": {f"/w{pid}": entry(pid) for pid in pids}, "read": {"/r": [entry(pid) for pid in pids]}})
    )
    return file


def pids(file):
    found = json.loads(file.read_text())
    assert {each["pid"] for each in found["write"].values()} == {each["pid"] for each in found["read"].get("/r", [])}
    return {each["pid"] for each in found["write"].values()}


def test_entries_of_living_dvcs_stay_and_those_of_zombies_and_of_other_programs_go(process):
    alive, dead, other = process("dvc"), process("dvc"), process("editor")
    dead.kill()  # and not waited for: a zombie, whose number DVC takes for that of a living process
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    file = locked(alive.pid, dead.pid, other.pid)
    told = dvc_locks.mend()
    assert pids(file) == {alive.pid}
    assert len(told) == 2
    assert dvc_locks.mend() == []


def test_entries_of_processes_that_are_known_to_have_ended_go(process):
    alive = process("dvc")
    file = locked(alive.pid)
    assert dvc_locks.mend((alive.pid,)) == [
        f"removed from .dvc/tmp/rwlock, as its DVC has ended: dvc repro of {alive.pid}"
    ]
    assert pids(file) == set()


@pytest.mark.parametrize("text", ["", "{", '{"write": {"/a": {"pid"', "[]", '{"write": {"/a": {}}}', "null"])
def test_half_an_rwlock_is_emptied(text):
    file = dvc_locks.FOLDER / "rwlock"
    file.write_text(text)
    assert len(dvc_locks.mend()) == 1
    assert json.loads(file.read_text()) == {}


def test_half_a_dvc_lock_is_replaced_by_the_last_whole_one_wherever_it_was_cut():
    for cut in range(0, len(WHOLE), 1499):
        dvc_locks.LOCK.write_bytes(WHOLE)
        assert dvc_locks.mend() == []
        half = WHOLE[:cut].rstrip()  # a cut at the end of a line may be a whole file of fewer stages
        dvc_locks.LOCK.write_bytes(half)
        assert "the last whole one is there again" in dvc_locks.mend()[0]
        assert dvc_locks.LOCK.read_bytes() == WHOLE


def test_half_a_dvc_lock_without_a_whole_one_keeps_its_whole_stages():
    stages = yaml.safe_load(WHOLE)["stages"]
    dvc_locks.LOCK.write_bytes(WHOLE[:-40].rstrip())
    assert "its whole stages stay" in dvc_locks.mend()[0]
    kept = yaml.safe_load(dvc_locks.LOCK.read_bytes())["stages"]
    assert list(kept) == list(stages)[:-1]
    assert all(stages[name] == stage for name, stage in kept.items())


@pytest.mark.parametrize("text", ["", "schema: '2.0'\nstages:\n  a:\n    cmd", "sche"])
def test_half_a_dvc_lock_of_no_whole_stage_is_moved_away(text):
    dvc_locks.LOCK.write_text(text)
    assert "every stage is looked at again" in dvc_locks.mend()[0]
    assert not dvc_locks.LOCK.exists()


def test_nothing_is_mended_while_a_dvc_does_its_book_keeping(monkeypatch):
    file = locked(os.getpid())
    before = file.read_text()
    with (dvc_locks.FOLDER / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setattr(dvc_locks, "SECONDS", 0.05)
        with dvc_locks.quiet(0.05) as ours:
            assert not ours
        monkeypatch.setattr(dvc_locks, "quiet", lambda quiet=dvc_locks.quiet: quiet(0.05))
        assert dvc_locks.mend() == ["another DVC is at work: nothing was mended"]
    assert file.read_text() == before


def test_where_nothing_was_left_nothing_is_made():
    assert dvc_locks.mend() == []
    assert not (dvc_locks.FOLDER / "rwlock").exists()
    assert not dvc_locks.LOCK.exists()
