"""One training at a time in a run directory: a lock that the system frees when its process ends, however it ends."""

import contextlib
import errno
import json
import os
import socket
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bpsta_cli import locks
from bpsta_cli.errors import RunError

FILE = "run.lock"
"""Says who trains here; there only while it is held, or after the holder was killed."""


@contextlib.contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold the lock of a run directory, which is made if it is not there.

    A network file system passes the lock on to other machines where it supports that (NFS does); one that has no locks
    is warned of, and then nothing keeps two trainings apart.

    Raises:
        RunError: another training holds it, or a file is in the directory's place.

    Warns:
        BpstaWarning: the file system has no locks.
    """
    _make(directory)
    file = directory / FILE
    opened = _locked(file)
    try:
        _name_holder(opened.fileno(), file)
        yield
    finally:
        locks.remove(file, opened)


def _name_holder(descriptor: int, file: Path) -> None:
    """Write who holds the lock, past any buffer, which would be written again when the file is closed."""
    holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, json.dumps(holder).encode())
    except OSError as refused:
        refused.filename = str(file)
        raise


def _make(directory: Path) -> None:
    if directory.exists() and not directory.is_dir():
        raise RunError(
            "the run directory is a file",
            expected="a directory, there or not",
            got=str(directory),
            todo="Choose another --out.",
        )
    directory.mkdir(parents=True, exist_ok=True)


def _locked(file: Path) -> IO[str]:
    """The lock's file, locked."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | locks.OPEN_FLAGS, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "Something else than a file is in the way", str(file))
        opened = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
        with contextlib.ExitStack() as closing:
            closing.enter_context(opened)
            if not locks.lock_or_warn(descriptor, file.parent, "trains", wait=False):
                raise _in_use(file.parent, _text(opened))
            if _is_still(file, descriptor):  # else the holder before removed it meanwhile
                closing.pop_all()
                return opened


def _text(opened: IO[str]) -> str:
    try:
        return opened.read(1000)
    except PermissionError:  # Windows lets nobody else read what is locked
        return ""


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _in_use(directory: Path, content: str) -> RunError:
    try:
        holder = json.loads(content)
        who = f"process {int(holder['pid'])} on {holder['host']!s:.80} since {holder['since']!s:.40}"
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):  # just being written, or another's
        who = "another process"
    return RunError(
        "the run directory is in use",
        expected="one that no other process trains in",
        got=f"{directory}, held by {who}",
        todo="Wait for that training, end it, or choose another --out.",
    )


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
