import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data_files import write_gestures

from bpsta_cli.config import Preparation
from bpsta_cli.data import parallel
from bpsta_cli.data.parallel import enough_processes, parallel_map
from bpsta_cli.data.store import prepare, write
from bpsta_cli.data.store.write import ArrayWriter
from bpsta_cli.errors import BpstaError, DataError


def test_chunks_become_one_array_and_its_checksum(tmp_path):
    whole = np.arange(7 * 6).reshape(7, 2, 3).astype(np.uint8)
    with ArrayWriter(tmp_path / "a.npy", 7) as writer:
        for rows in (slice(0, 1), slice(1, 5), slice(5, 7)):
            writer.append(whole[rows, ::-1][:, ::-1])
        record = writer.record()
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), whole)
    assert (record.dtype, record.shape, record.bytes) == ("uint8", (7, 2, 3), (tmp_path / "a.npy").stat().st_size)
    assert record.sha256 == hashlib.sha256(whole.tobytes()).hexdigest()


def test_a_wider_chunk_widens_what_is_there_and_a_narrower_one_is_widened(tmp_path, monkeypatch):
    monkeypatch.setattr(write, "chunks", lambda shape, dtype: (slice(i, i + 1) for i in range(shape[0])))
    chunks = [np.array([[1, 2]], np.uint8), np.array([[3, 4], [5, 255]], np.uint8), np.array([[6, 700]], np.uint16)]
    with ArrayWriter(tmp_path / "a.npy", 5) as writer:
        for chunk in (*chunks, chunks[0]):
            writer.append(chunk)
        record = writer.record()
    whole = np.load(tmp_path / "a.npy")
    assert (whole.dtype, whole.tolist()) == (np.uint16, [[1, 2], [3, 4], [5, 255], [6, 700], [1, 2]])
    assert record.sha256 == hashlib.sha256(whole.tobytes()).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == ["a.npy"]


def test_a_chunk_of_another_shape_or_a_row_too_few_is_no_array(tmp_path):
    with ArrayWriter(tmp_path / "a.npy", 3) as writer:
        writer.append(np.zeros((2, 4), np.uint8))
        with pytest.raises(ValueError, match=r"a chunk of \(5,\)"):
            writer.append(np.zeros((1, 5), np.uint8))
        with pytest.raises(ValueError, match="2 of 3 rows"):
            writer.record()


def test_a_disk_that_fills_up_while_writing_is_reported_and_leaves_no_store(tmp_path, monkeypatch):
    def full(self, chunk):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ArrayWriter, "_put", full)
    source = write_gestures(tmp_path / "given")
    with pytest.raises(DataError, match=r"cannot be prepared.*No space left on device.*room on the disk"):
        prepare("dvs-gesture", Preparation(T=2), source=source, data_dir=tmp_path)
    assert [path.name for path in (tmp_path / "prepared" / "dvs-gesture").iterdir()] == [".T2-number.lock"]


def square(number):
    if number == 13:
        raise DataError("unlucky", expected="another number", got="13", todo="Leave it out.")
    return np.array([[number * number, os.getpid()]])


@pytest.mark.parametrize("each", [1, 7, 1000])
def test_other_processes_give_the_same_in_the_same_order(monkeypatch, each):
    monkeypatch.setattr(parallel, "_MOST_ITEMS", each)
    numbers = [number for number in range(40) if number != 13]
    found = np.concatenate(list(parallel_map(square, numbers, processes=2)))
    assert [int(row[0]) for row in found] == [number * number for number in numbers]
    assert {int(row[1]) for row in found[1:]}.isdisjoint({os.getpid()})


def test_an_error_of_another_process_arrives_whole(tmp_path):
    with pytest.raises(DataError, match=r"unlucky: expected another number, got 13\. Leave it out") as caught:
        list(parallel_map(square, range(40), processes=2))
    assert (caught.value.problem, caught.value.todo) == ("unlucky", "Leave it out.")
    assert isinstance(caught.value, BpstaError)


KILLED = """
import os, sys
import numpy as np
from bpsta_cli.data.parallel import parallel_map
def make(number):
    return np.array([[os.getpid()]])
for (row, *_) in parallel_map(make, range(1000), 2):
    if row[0] != os.getpid():
        print(row[0], flush=True)
        os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_the_other_processes_end_when_theirs_is_killed():
    done = subprocess.run([sys.executable, "-c", KILLED], capture_output=True, text=True, check=False)
    status = Path(f"/proc/{int(done.stdout)}/status")
    for _ in range(600):
        if not status.exists() or "State:\tZ" in status.read_text():  # it has ended, though nobody may have asked how
            return
        time.sleep(0.1)
    pytest.fail(f"it lives on: {status.read_text()}")


def test_a_store_is_the_same_by_one_process_and_by_two(tmp_path):
    source = write_gestures(tmp_path / "given", each=2)
    hashes = {
        prepare("dvs-gesture", Preparation(T=3), source=source, data_dir=tmp_path / str(n), processes=n).content_hash
        for n in (1, 2)
    }
    assert len(hashes) == 1


def test_a_damaged_recording_is_named_by_the_process_that_reads_it(tmp_path):
    source = write_gestures(tmp_path / "given", each=2)
    bad = source / "test" / "9" / "user1.npz"
    bad.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"an \.npz archive of plain arrays") as caught:
        prepare("dvs-gesture", Preparation(T=3), source=source, data_dir=tmp_path, processes=2)
    assert str(bad) in str(caught.value)


def test_little_or_few_files_are_read_by_one_process_and_many_large_ones_by_all(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 1 << 27)
    assert enough_processes([large], items=100) == 3
    assert enough_processes([large], items=5) == 1
    os.truncate(large, 1 << 20)
    assert enough_processes([large], items=100) == 1
