import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpsta_cli import checksums
from bpsta_cli.files import replacing, sweep, write_checked_json, write_json, write_text


def test_text_arrives_whole_in_folders_made_for_it(tmp_path):
    file = tmp_path / "a" / "b" / "text"
    write_text(file, "häh\n")
    assert file.read_bytes() == "häh\n".encode()


def test_nobody_sees_the_new_file_before_it_is_whole(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file) as new:
        new.write(b"new")
        new.flush()
        assert file.read_text() == "old"
    assert file.read_text() == "new"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_block_that_ends_badly_leaves_the_old_file_and_no_trace(tmp_path, interruption):
    file = tmp_path / "file"
    file.write_text("old")

    def interrupted():
        with replacing(file) as new:
            new.write(b"half")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"


def test_the_file_may_be_read_by_those_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_json_keeps_words_readable_and_the_order(tmp_path):
    write_json(tmp_path / "file", {"b": "é", "a": 1})
    assert (tmp_path / "file").read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": 1\n}\n'


def test_json_has_no_numbers_that_json_does_not_know(tmp_path):
    write_json(tmp_path / "file", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"loss": float("nan")})
    assert (tmp_path / "file").read_text() == "1\n"


KILLED = """
import os, sys
from pathlib import Path
from bpsta_cli.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_writer_left_is_removed_by_the_next_one_and_nothing_else_is(tmp_path):
    mine = [tmp_path / name for name in (".notes.partial", ".a.b", "x.abcdefgh.partial")]
    for file in mine:
        file.write_text("mine")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "file")], check=False)
    assert len(list(tmp_path.glob(".file.*.partial"))) == 1
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(mine)


def test_a_living_writers_file_is_not_swept(tmp_path):
    with replacing(tmp_path / "file") as file:
        file.write(b"new")
        sweep(tmp_path)
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_writer_that_was_swept_before_its_lock_begins_again(tmp_path, monkeypatch):
    real, swept = fcntl.flock, []

    def late(descriptor, how):
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        real(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    write_text(tmp_path / "file", "text")
    assert (len(swept), (tmp_path / "file").read_text()) == (1, "text")


def test_the_content_is_on_the_disk_before_its_name_and_the_name_before_the_writer_goes_on(tmp_path, monkeypatch):
    order, fsync, replace = [], os.fsync, Path.replace

    def synced(descriptor):
        order.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", lambda old, new: order.append("name") or replace(old, new))
    write_text(tmp_path / "file", "text")
    assert order == ["file", "name", "folder"]


def test_a_file_system_without_locks_or_synced_folders_serves_all_the_same(tmp_path, monkeypatch):
    def unknown(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(fcntl, "flock", unknown)
    write_text(tmp_path / "file", "text")
    (tmp_path / ".file.abcdefgh.partial").touch()
    sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2, "nobody knows whether its writer lives"


def test_checked_json_is_read_again(tmp_path):
    write_checked_json(tmp_path / "file", {"a": 1})
    assert checksums.parse((tmp_path / "file").read_bytes()) == ({"a": 1}, True)
