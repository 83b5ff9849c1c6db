"""Reader of IDX files, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data.sources import refuse_web_page
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

_UNSIGNED_BYTE = 0x08
_MOST_RATIO = 1032
"""A byte of deflate unpacks to at most so many."""
_REFETCH = "Delete the file and fetch it again."


def read_idx(path: Path, axes: int) -> npt.NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file, plain (memory-mapped) or gzip.

    The file starts with two zero bytes, the code of the type (8: unsigned byte), the number of
    axes, and each axis's length as four big-endian bytes.

    Args:
        path: the file; a name ending in .gz is decompressed.
        axes: how many axes it must have.

    Raises:
        DataError: no IDX file of that kind, or longer or shorter than its header says.
    """
    try:
        with reading.opened(path, reading.ARRAYS) as file:
            if path.suffix == ".gz":
                return _unzipped(path, file, axes)
            shape = _shape(path, file.read(4 + 4 * axes), axes)
            _check_length(path, shape, _size(path))
    except UnreadableError as refused:
        problem = f"{path.name} cannot be read"
        raise DataError(problem, expected=refused.expected, got=f"{refused.got} in {path}", todo=_REFETCH) from None
    if math.prod(shape) == 0:
        return np.empty(shape, np.uint8)
    return np.memmap(path, np.uint8, "r", offset=4 + 4 * axes, shape=shape)


def _shape(path: Path, head: bytes, axes: int) -> tuple[int, ...]:
    """The lengths that the header `head` declares."""
    refuse_web_page(path, head)
    expected_magic = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if len(head) >= 4 and head[:4] != expected_magic:
        raise DataError(
            f"{path.name} is no IDX file of this kind",
            expected=f"magic number 0x{expected_magic.hex()}",
            got=f"0x{head[:4].hex()} in {path}",
            todo="Images and labels may be swapped; else delete the file and fetch it again.",
        )
    if len(head) < 4 + 4 * axes:
        raise _truncated(path, f"a header of {4 + 4 * axes} bytes", f"{len(head)}")
    return struct.unpack(f">{axes}I", head[4:])


def _unzipped(path: Path, file: BinaryIO, axes: int) -> npt.NDArray[np.uint8]:
    """The array in a gzip file, of which no more is unpacked than its header declares."""
    refuse_web_page(path, file.read(16))
    file.seek(0)
    try:
        with gzip.GzipFile(fileobj=file) as unzipped:
            shape = _shape(path, unzipped.read(4 + 4 * axes), axes)
            declared = math.prod(shape)
            if declared > _MOST_RATIO * _size(path):
                raise _truncated(path, f"{declared:,} bytes for {' x '.join(map(str, shape))}", "fewer")
            content = unzipped.read(declared + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be decompressed",
            expected="a whole gzip file",
            got=f"{_size(path):,} bytes ({error}) in {path}",
            todo=_REFETCH,
        ) from error
    _check_length(path, shape, 4 + 4 * axes + len(content), least=len(content) > declared)
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_length(path: Path, shape: tuple[int, ...], size: int, *, least: bool = False) -> None:
    total = 4 + 4 * len(shape) + math.prod(shape)
    if size != total:
        there = f"{size:,}" if not least else f"{size:,} or more"
        raise _truncated(path, f"{total:,} bytes for {' x '.join(map(str, shape))}", there)


def _size(path: Path) -> int:
    return path.stat().st_size


def _truncated(path: Path, expected: str, got: str) -> DataError:
    problem = f"{path.name} has the wrong length"
    return DataError(problem, expected=expected, got=f"{got} bytes in {path}", todo=_REFETCH)
