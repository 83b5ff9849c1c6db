"""Reader of IDX files, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist/)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.sources import refuse_web_page
from bpsta_cli.errors import DataError

_UNSIGNED_BYTE = 0x08
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
    data = _content(path)
    start = 4 + 4 * axes
    head = data[:start].tobytes()
    refuse_web_page(path, head)
    expected_magic = bytes((0, 0, _UNSIGNED_BYTE, axes))
    if len(head) >= 4 and head[:4] != expected_magic:
        raise DataError(
            f"{path.name} is no IDX file of this kind",
            expected=f"magic number 0x{expected_magic.hex()}",
            got=f"0x{head[:4].hex()} in {path}",
            todo="Images and labels may be swapped; else delete the file and fetch it again.",
        )
    if len(head) < start:
        raise _truncated(path, f"a header of {start} bytes", len(data))
    shape = struct.unpack(f">{axes}I", head[4:])
    total = start + math.prod(shape)
    if len(data) != total:
        raise _truncated(path, f"{total:,} bytes for {' x '.join(map(str, shape))}", len(data))
    return data[start:].reshape(shape)


def _content(path: Path) -> npt.NDArray[np.uint8]:
    if path.suffix == ".gz":
        return np.frombuffer(_gunzip(path), np.uint8)
    return np.memmap(path, np.uint8, "r") if _size(path) else np.empty(0, np.uint8)


def _size(path: Path) -> int:
    return path.stat().st_size


def _gunzip(path: Path) -> bytes:
    with path.open("rb") as file:
        head = file.read(16)
    refuse_web_page(path, head)
    try:
        return gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"{path.name} cannot be decompressed",
            expected="a whole gzip file",
            got=f"{_size(path):,} bytes ({error}) in {path}",
            todo=_REFETCH,
        ) from error


def _truncated(path: Path, expected: str, got: int) -> DataError:
    problem = f"{path.name} has the wrong length"
    return DataError(problem, expected=expected, got=f"{got:,} bytes in {path}", todo=_REFETCH)
