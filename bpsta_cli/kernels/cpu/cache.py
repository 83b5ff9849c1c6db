"""The cache folder of compiled libraries: loaded from only where nobody else can write.

A library is code, and its name in the folder can be computed by anyone. So folder and file must belong to this user (or
to the administrator) and be closed to others' writing; else the library is built into a private folder and loaded from
there, in this process alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from bpsta_cli.errors import BpstaWarning
from bpsta_cli.files import replacing

_DIGEST = hashlib.sha256().digest_size
_MODE = 0o644


class _NotUsedError(Exception):
    """Why the folder is not used, in one clause."""


def load(folder: Path, name: str, build: Callable[[Path], Path]) -> ctypes.CDLL:
    """The library `name` out of the cache `folder`, built if it is not there whole.

    Args:
        folder: made if it is not there, open to this user alone.
        name: of the library's file; whoever changes what is in the library changes the name.
        build: compiles the library into the folder that it is given, and returns its path.

    Warns:
        BpstaWarning: the folder cannot be used; the library is built for this process alone.

    Raises:
        OSError: the library cannot be written or loaded anywhere.
    """
    refused = ""
    try:
        with _opened(folder) as place:
            if (kept := _kept(place, name)) is not None:
                return kept
    except (_NotUsedError, OSError) as why:
        refused = str(why)
    with tempfile.TemporaryDirectory() as private:  # made for this user alone
        built = build(Path(private))
        if not refused:
            try:
                _keep(folder / name, built.read_bytes())
                with _opened(folder) as place:
                    if (kept := _kept(place, name)) is not None:
                        return kept
            except (_NotUsedError, OSError) as why:
                refused = str(why)
        warnings.warn(_told(folder, refused), BpstaWarning, stacklevel=2)
        return ctypes.CDLL(str(built))


def refused(folder: Path) -> str:
    """Why nothing would be kept in the folder, in one clause; empty where it would, or where it is not there yet."""
    try:
        return _open_to_others(folder.stat()) if folder.exists() else ""
    except OSError as why:
        return str(why)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    """The folder's descriptor: what is checked of it is true of all that is read through it, whatever its path."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if why := _open_to_others(os.fstat(place)):
            raise _NotUsedError(f"it {why}")
        yield place
    finally:
        os.close(place)


def _kept(place: int, name: str) -> ctypes.CDLL | None:
    """The library in the folder; None where there is none, or one that is damaged or could be another's."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=place)
    except FileNotFoundError:
        return None
    except OSError:  # a link: replaced by a file
        return None
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or _open_to_others(status):
            return None
        content = opened.read()
    if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
        return None
    # by way of the descriptor: the path might lead elsewhere by now
    return ctypes.CDLL(f"/proc/self/fd/{place}/{name}")


def _keep(file: Path, content: bytes) -> None:
    """Write the library; the loader reads no further than its own tables, so that its SHA-256 can follow."""
    if file.exists() and not file.is_file():
        file.unlink()  # a pipe or a device; of a folder it is an error
    with replacing(file) as opened:
        opened.write(content + hashlib.sha256(content).digest())
    file.chmod(_MODE)


def _open_to_others(status: os.stat_result) -> str:
    """Who else could have written there, in one clause; empty where nobody."""
    if status.st_uid not in (0, os.geteuid()):
        return f"belongs to user {status.st_uid}"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"can be written to by others (mode {stat.S_IMODE(status.st_mode):04o})"
    return ""


def _told(folder: Path, why: str) -> str:
    why = why or "what was written there is not what is read"
    return (
        f"the cache folder of compiled kernels is not used: expected a folder of yours that nobody else can write to, "
        f"got {folder}: {why}. Kernels are compiled for this process alone; run `chmod go-w` on the folder, or name "
        f"another one in BPSTA_CACHE."
    )
