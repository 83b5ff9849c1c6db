"""One training at a time in a run directory: a lock that the system frees when its process ends, however it ends."""

import contextlib
import errno
import fcntl
import json
import os
import socket
import stat
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from bpsta_cli.errors import BpstaWarning, RunError

FILE = "run.lock"
"""Says who trains here; there only while it is held, or after the holder was killed."""
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a file system says that has no locks, as some network file systems do not unless they are mounted so."""


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
        _sign(file, opened)
        yield
    finally:
        file.unlink(missing_ok=True)  # before it is freed: whoever comes next makes a new one
        opened.close()


def _sign(file: Path, opened: IO[str]) -> None:
    """Write who holds the lock."""
    try:
        opened.truncate(0)
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": _now()}
        os.write(opened.fileno(), json.dumps(holder).encode())  # unbuffered: else to close it would fail again
    except OSError as error:
        error.filename = str(file)  # of a full disk the system names no file
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
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "Something else than a file is in the way", str(file))
        opened = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with opened:
                raise _in_use(file.parent, opened.read(1000)) from None
        except OSError as refused:
            if refused.errno not in _UNSUPPORTED:
                opened.close()
                raise
            warnings.warn(
                f"{file.parent} lies on a file system without locks ({refused.strerror}): take care that nothing else "
                "trains there.",
                BpstaWarning,
                stacklevel=2,
            )
            return opened
        if _is_still(file, descriptor):
            return opened
        opened.close()  # the holder before removed it meanwhile


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
