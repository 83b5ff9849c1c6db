"""Files that are whole or not there, after a power cut too; what killed writers leave is swept."""

import contextlib
import errno
import functools
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bpsta_cli import checksums, locks
from bpsta_cli.errors import SettingsError

SUFFIX = ".partial"
_PARTIAL = re.compile(rf"\..+\.[a-z0-9_]{{8}}{re.escape(SUFFIX)}")
_NO_SYNC = (errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces `path` when the context closes without an error, and leaves no trace otherwise.

    What was written is on the disk before the name points to it. A writer that is killed leaves a hidden file, which
    the next process that writes in the folder removes (`sweep`).

    Raises:
        SettingsError: `path` is there and is no regular file: a folder, or a device, which would be replaced.
        OSError: it cannot be written; its `filename` is `path` where the system names none, as of a full disk.
    """
    if path.exists() and not path.is_file():
        raise SettingsError(
            "unusable place for a file",
            expected="a file to replace, or nothing",
            got=f"{path}, which is no regular file",
            todo="Give the path of a file.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(path.parent.absolute())
    descriptor, partial = _begin(path)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            umask = os.umask(0)
            os.umask(umask)
            partial.chmod(0o666 & ~umask)
            os.fsync(file.fileno())
            if not locks.CLOSE_FIRST:
                partial.replace(path)  # before it is closed: with that the lock ends, and it could be swept
        if locks.CLOSE_FIRST:
            partial.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _begin(path: Path) -> tuple[int, Path]:
    """An empty hidden file beside `path`, locked as long as it is open: a lock ends with its process."""
    while True:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX)
        with contextlib.suppress(locks.NoLocksError):
            locks.lock(descriptor)
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(name)
        os.close(descriptor)  # swept before it was locked


def sweep(folder: Path) -> None:
    """Remove the hidden files that killed writers left in `folder`; those of living writers are locked and stay."""
    for partial in folder.glob(f".*{SUFFIX}"):
        if not _PARTIAL.fullmatch(partial.name):
            continue
        with (
            contextlib.suppress(OSError),  # no locks, another's file, or swept meanwhile by another
            os.fdopen(os.open(partial, os.O_RDWR | locks.OPEN_FLAGS), "r+b") as opened,
        ):
            if locks.lock(opened.fileno(), wait=False):
                locks.remove(partial, opened)


_sweep_once = functools.cache(sweep)


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` written to the disk, where the file system can."""
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no folder
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a name that is no UTF-8


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_checked_json(path: Path, value: dict[str, Any]) -> None:
    """The same with a checksum as its last line; `checksums.parse` reads it."""
    write_text(path, checksums.with_checksum(value))
