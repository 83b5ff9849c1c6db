"""Opens regular files alone, and reads no more of one than its kind may have."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from bpsta_cli.errors import BpstaError

MIB = 1 << 20
DOCUMENT = 16 * MIB
"""Bytes of a JSON or CSV file, or of a list of names: the longest history has less than a tenth."""
IMAGE = 128 * MIB
SOUND = 256 * MIB
RECORDING = 512 * MIB
"""Bytes of an event recording: 100 million events of N-MNIST's five bytes."""
ARRAYS = 1024 * MIB
"""Bytes of arrays that a compressed file may declare."""
WEIGHTS = 4096 * MIB
HIERARCHY = 8192 * MIB
"""Bytes of an HDF5 file, which is never read whole."""
_PIECE = 4 * MIB
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class UnreadableError(BpstaError):
    """A file that cannot be read for what it should be."""


class MissingError(UnreadableError):
    """A file that is not there."""


_FLAGS = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
"""For the opening of a file, each where the system has it: a pipe is not waited for, a line's end is left as it is."""


def unreadable(path: Path | str, expected: str, got: str) -> UnreadableError:
    """The error for a file that is not what it should be."""
    todo = "Restore the file, or give another one."
    return UnreadableError(f"unreadable file {path}", expected=expected, got=got, todo=todo)


@contextmanager
def opened(path: Path, most: int) -> Iterator[BinaryIO]:
    """A regular file of at most `most` bytes, open to read; nothing else is waited for or touched.

    Args:
        path: the file.
        most: bytes that a file of this kind may have.

    Raises:
        MissingError: there is no such file.
        UnreadableError: it is no regular file, too large, or cannot be opened or read.
    """
    try:
        _check(path, path.stat(), most)  # before it is opened: to open a device may already do something
        descriptor = os.open(path, os.O_RDONLY | _FLAGS)
    except FileNotFoundError:
        todo = "Check the path."
        raise MissingError(f"unreadable file {path}", expected="a file", got="no such file", todo=todo) from None
    except (OSError, ValueError) as refused:  # ValueError: a name with a zero byte in it, or one of no encoding
        raise unreadable(path, "a file that can be opened", _reason(refused)) from None
    with os.fdopen(descriptor, "rb") as file:
        _check(path, os.fstat(descriptor), most)
        try:
            yield file
        except OSError as refused:
            if refused.errno is None:
                raise  # not the system's, but what a reader made of the bytes
            raise unreadable(path, "a file that can be read to its end", _reason(refused)) from None


def _check(path: Path, state: os.stat_result, most: int) -> None:
    kind = stat.S_IFMT(state.st_mode)
    if kind != stat.S_IFREG:
        raise unreadable(path, "a regular file", _KINDS.get(kind, "another kind of file"))
    if state.st_size > most:
        raise _too_large(path, most, f"{state.st_size:,}")


def _too_large(path: Path, most: int, got: str) -> UnreadableError:
    return unreadable(path, f"at most {most:,} bytes", got)


def _reason(refused: Exception) -> str:
    return getattr(refused, "strerror", None) or str(refused)


def content(path: Path, most: int = DOCUMENT) -> bytes:
    """All bytes of a regular file.

    Raises:
        UnreadableError: as `opened`.
    """
    with opened(path, most) as file:
        found = file.read(os.fstat(file.fileno()).st_size + 1) or b""
        found += file.read(max(0, most + 1 - len(found))) or b""  # files of /proc have more than their size says
    if len(found) > most:
        raise _too_large(path, most, "more")
    return found


def sha256(path: Path, most: int = WEIGHTS) -> str:
    """SHA-256 of a regular file, read piece by piece.

    Raises:
        UnreadableError: as `opened`.
    """
    digest = hashlib.sha256()
    with opened(path, most) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def text(path: Path, most: int = DOCUMENT) -> str:
    """The text of a file in UTF-8.

    Raises:
        UnreadableError: as `opened`, or in another encoding.
    """
    found = content(path, most)
    try:
        return found.decode("utf-8")
    except UnicodeDecodeError as broken:
        got = f"byte 0x{found[broken.start]:02x} at position {broken.start:,}"
        raise unreadable(path, "text in UTF-8", got) from None
