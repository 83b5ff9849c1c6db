"""NumPy's .npy and .npz: what the headers declare is held against what is there before memory is taken; no pickles."""

import io
import math
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli.reading.regular import ARRAYS, RECORDING, UnreadableError, content, opened, unreadable

_HEADER_BYTES = 10_000
_ADDRESSES = 1 << 62
_HEADERS: dict[tuple[int, ...], Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_END, _END_64 = b"PK\x05\x06", b"PK\x06\x07"
_END_BYTES, _LOCATOR_BYTES, _COMMENT_BYTES = 22, 20, 65_535
_DIRECTORY_BYTES = 1 << 20
"""Of an archive's list of its members: those that are read have four."""


class _Header(NamedTuple):
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    fortran: bool
    start: int

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def npy(path: Path, most: int = RECORDING) -> npt.NDArray[Any]:
    """The array in an .npy file.

    Raises:
        UnreadableError: no file that can be read, no such array, Python objects, or another size than it declares.
    """
    return _array(path, content(path, most))


def mapped_npy(path: Path) -> npt.NDArray[Any]:
    """The array in an .npy file of any size, memory-mapped and read-only.

    Raises:
        UnreadableError: as `npy`.
    """
    with opened(path, most=1 << 62) as file:
        size = os.fstat(file.fileno()).st_size
        header = _header(path, file, size)
    if header.bytes == 0:
        return np.empty(header.shape, header.dtype)
    order: Literal["C", "F"] = "F" if header.fortran else "C"
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.start, shape=header.shape, order=order)


def npz(path: Path, names: Iterable[str], most: int = RECORDING) -> dict[str, npt.NDArray[Any]]:
    """Some arrays of an .npz archive, by name; the others are not looked at.

    Raises:
        UnreadableError: as `npy`, no such archive, an array that is missing, or more than it may declare.
    """
    with _archive(path, most) as archive:
        members = {name: _member(path, archive, name) for name in names}
        declared = sum(member.file_size for member in members.values())
        if declared > ARRAYS:
            raise unreadable(path, f"arrays of at most {ARRAYS:,} bytes", f"{declared:,}")
        parts = {name: _unpacked(path, archive, member) for name, member in members.items()}
    return {name: _array(path, part) for name, part in parts.items()}


def npz_names(path: Path, most: int = RECORDING) -> tuple[str, ...]:
    """The names of the arrays in an .npz archive.

    Raises:
        UnreadableError: as `npz`.
    """
    with _archive(path, most) as archive:
        return tuple(name.removesuffix(".npy") for name in archive.namelist())


@contextmanager
def _archive(path: Path, most: int) -> Iterator[zipfile.ZipFile]:
    found = content(path, most)
    _check_directory(path, found)
    try:
        with zipfile.ZipFile(io.BytesIO(found)) as archive:
            yield archive
    except UnreadableError:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as broken:
        raise unreadable(path, "an .npz archive of plain arrays", str(broken) or type(broken).__name__) from None


def _check_directory(path: Path, found: bytes) -> None:
    """Refuse an archive whose list of members is long: `zipfile` reads all of it."""
    at = found.rfind(_END, max(0, len(found) - _END_BYTES - _COMMENT_BYTES))
    if at < 0 or len(found) - at < _END_BYTES:
        raise unreadable(path, "an .npz archive of plain arrays", "a file that is not a zip file")
    size = int.from_bytes(found[at + 12 : at + 16], "little")
    before = found[max(0, at - _LOCATOR_BYTES) : at]
    if size > _DIRECTORY_BYTES or before.startswith(_END_64):
        raise unreadable(path, "an .npz archive of few arrays", "a long list of members")


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    try:
        return archive.getinfo(f"{name}.npy")
    except KeyError:
        raise unreadable(path, f"an array {name}", f"{', '.join(archive.namelist()[:10]) or 'none'}") from None


def _unpacked(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    with archive.open(member) as file:
        found = file.read(member.file_size + 1)
    if len(found) != member.file_size:
        raise unreadable(path, f"{member.file_size:,} bytes of {member.filename}", f"{len(found):,}")
    return found


def _array(path: Path, found: bytes) -> npt.NDArray[Any]:
    header = _header(path, io.BytesIO(found), len(found))
    if header.bytes == 0:
        return np.empty(header.shape, header.dtype)
    flat = np.frombuffer(found, header.dtype, offset=header.start)
    return flat.reshape(header.shape, order="F" if header.fortran else "C")


def _header(path: Path, file: BinaryIO, size: int) -> _Header:
    try:
        version = np.lib.format.read_magic(file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shape, fortran, dtype = _HEADERS[version](file, max_header_size=_HEADER_BYTES)
    except Exception as broken:  # the header is read as Python's literals, which raise what they raise
        got = " ".join(str(broken).split()) or type(broken).__name__
        raise unreadable(path, "an .npy array", got) from None
    if dtype.hasobject:
        raise unreadable(path, "an array of numbers", "Python objects, which could run code")
    header = _Header(dtype, shape, fortran, file.tell())
    if dtype.itemsize == 0 or len(shape) > 16 or any(type(length) is not int or length < 0 for length in shape):
        raise unreadable(path, "an array of numbers", f"{dtype} {shape}")
    if math.prod(max(1, length) for length in shape) * dtype.itemsize > _ADDRESSES:  # also of an array without values
        raise unreadable(path, "an array that fits into memory", f"{dtype} {shape}")
    if header.start + header.bytes != size:
        declared = f"{header.start + header.bytes:,} bytes for {' x '.join(map(str, shape)) or 'one'} {dtype}"
        raise unreadable(path, declared, f"{size:,}")
    return header
