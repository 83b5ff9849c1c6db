"""HDF5: where arrays lie in a file. h5py finds them; their bytes are read here, held against the file's size first.

The library takes the lengths of variable-length values on trust and reserves memory for them. So it is asked for the
structure alone (groups, types, chunks), and the values are read by the format's specification (HDF5 File Format
Specification 3.0, sections III.E "Global Heap" and IV.A.2.i "Data Layout"). Links to other files are not followed.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli.reading.regular import ARRAYS, HIERARCHY, RECORDING, UnreadableError, opened, unreadable

_VALUES = 1 << 24
"""Values of one array: more than a hundred times the samples of the largest data set read here."""
_REFERENCE = np.dtype([("count", "<u4"), ("heap", "<u8"), ("index", "<u4")])
"""What stands for a variable-length value: how many elements, the heap that holds them, their number in it."""
_HEAP, _OBJECT = struct.Struct("<4sB3xQ"), struct.Struct("<HH4xQ")
_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_CHECKSUM_BYTES = 4
_ONES = 0xFFFF
_FORM = "an HDF5 file"


class Ragged(NamedTuple):
    """Arrays of several lengths in one file.

    Attributes:
        dtype: of their values.
        starts: the byte where each begins, int64 [N].
        counts: how many values each has, int64 [N].
    """

    dtype: np.dtype[Any]
    starts: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]


class Piece(NamedTuple):
    """One of them: its type as NumPy writes it ("<f2"), the byte where it begins, its length."""

    dtype: str
    start: int
    length: int


def piece(path: Path, place: Piece) -> npt.NDArray[Any]:
    """The array at a place that `Ragged` names.

    Raises:
        UnreadableError: no file that can be read, or one that ends before the array does.
    """
    size = place.length * np.dtype(place.dtype).itemsize
    if size > RECORDING:
        raise unreadable(path, f"an array of at most {RECORDING:,} bytes", f"{size:,}")
    with opened(path, HIERARCHY) as file:
        return np.frombuffer(_bytes(path, file, place.start, size), place.dtype)


@contextmanager
def structure(path: Path) -> Iterator[Structure]:
    """An HDF5 file, opened to read.

    Raises:
        UnreadableError: no file that can be read, or no HDF5; also where the body meets what it cannot read.
        ModuleNotFoundError: h5py is not installed.
    """
    import h5py

    try:
        with opened(path, HIERARCHY) as file, h5py.File(file, "r") as root:
            yield Structure(path, file, root)
    except (UnreadableError, ModuleNotFoundError):
        raise
    except Exception as broken:  # h5py raises what its library and NumPy raise
        got = " ".join(str(broken).split()) or type(broken).__name__
        raise unreadable(path, _FORM, got) from None


class Structure:
    """An opened HDF5 file whose arrays are found by name, such as "spikes/times"."""

    def __init__(self, path: Path, file: BinaryIO, root: Any) -> None:
        self._path, self._file, self._root = path, file, root
        self._size = os.fstat(file.fileno()).st_size
        if root.userblock_size or root.id.get_create_plist().get_sizes() != (8, 8):
            raise unreadable(path, f"{_FORM} with addresses of 8 bytes from its beginning", "another form of it")

    def plain(self, name: str) -> npt.NDArray[Any]:
        """The row of numbers, or of texts of one length, called `name`.

        Raises:
            UnreadableError: there is none, or something else.
        """
        dataset = self._dataset(name)
        if dataset.dtype.hasobject or dataset.dtype.itemsize == 0:
            raise self._unlike(name, "a row of plain values", str(dataset.dtype))
        return self._values(name, dataset, dataset.dtype)

    def ragged(self, name: str) -> Ragged:
        """The arrays of several lengths called `name`.

        Raises:
            UnreadableError: there are none, or something else; a length that is not what the file holds.
        """
        import h5py

        dataset = self._dataset(name)
        inner = h5py.check_vlen_dtype(dataset.dtype)
        if not isinstance(inner, np.dtype) or inner.hasobject or inner.kind not in "iuf":
            raise self._unlike(name, "arrays of several lengths, of numbers", str(dataset.dtype))
        return self._located(name, dataset, inner)

    def texts(self, name: str) -> tuple[str, ...]:
        """The texts called `name`, of one length or of several.

        Raises:
            UnreadableError: there are none, or something else.
        """
        import h5py

        dataset = self._dataset(name)
        form = h5py.check_string_dtype(dataset.dtype)
        if form is None:
            raise self._unlike(name, "a row of texts", str(dataset.dtype))
        if form.length is not None:
            found = [bytes(each) for each in self.plain(name)]
        else:
            places = self._located(name, dataset, np.dtype("u1"))
            pairs = zip(places.starts.tolist(), places.counts.tolist(), strict=True)
            found = [_bytes(self._path, self._file, *pair) for pair in pairs]
        return tuple(each.rstrip(b"\0").decode("utf-8") for each in found)

    def _dataset(self, name: str) -> Any:
        import h5py

        place = self._root
        for part in name.split("/"):
            link = place.get(part, getlink=True) if isinstance(place, h5py.Group) else None
            if not isinstance(link, h5py.HardLink):
                raise self._unlike(name, "an array", "none" if link is None else "a link")
            place = place[part]
        if not isinstance(place, h5py.Dataset) or place.ndim != 1 or place.is_virtual or place.external:
            raise self._unlike(name, "a row of values in the file itself", "something else")
        if len(place) > _VALUES:
            raise self._unlike(name, f"at most {_VALUES:,} values", f"{len(place):,}")
        return place

    def _located(self, name: str, dataset: Any, inner: np.dtype[Any]) -> Ragged:
        """Where the values are that the references of a variable-length array stand for."""
        references = self._values(name, dataset, _REFERENCE)
        heaps = _Heaps(self._path, self._file, self._size)
        starts = np.zeros(len(references), dtype=np.int64)
        for row, (count, heap, index) in enumerate(references.tolist()):
            if count:
                starts[row], size = heaps.find(heap, index)
                if size != count * inner.itemsize:
                    raise self._unlike(f"{name}[{row}]", f"{count * inner.itemsize:,} bytes", f"{size:,}")
        return Ragged(inner, starts, references["count"].astype(np.int64))

    def _values(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        length = len(dataset)
        if length * dtype.itemsize > ARRAYS:
            raise self._unlike(name, f"at most {ARRAYS:,} bytes", f"{length * dtype.itemsize:,}")
        if dataset.chunks is not None:
            return self._in_chunks(name, dataset, dtype)
        start = dataset.id.get_offset()
        if start is None and length:
            raise self._unlike(name, "values in a place of their own", "none")
        return np.frombuffer(_bytes(self._path, self._file, start or 0, length * dtype.itemsize), dtype)

    def _in_chunks(self, name: str, dataset: Any, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """The values of an array that is stored in chunks of equal length; the last may reach beyond its end."""
        (each,), length = dataset.chunks, len(dataset)
        wanted, there = math.ceil(length / each), dataset.id.get_num_chunks()
        if there != wanted or wanted * each * dtype.itemsize > ARRAYS:
            raise self._unlike(name, f"{wanted:,} chunks of at most {ARRAYS:,} bytes", f"{there:,} of {each:,} values")
        plan = dataset.id.get_create_plist()
        filters = [plan.get_filter(number)[0] for number in range(plan.get_nfilters())]
        values = np.zeros(wanted * each, dtype)
        found = set()
        for number in range(wanted):
            chunk = dataset.id.get_chunk_info(number)
            (first,) = chunk.chunk_offset
            if first % each or first >= length or chunk.filter_mask:
                raise self._unlike(name, f"chunks of {each:,} values", f"one from value {first:,} on")
            stored = _bytes(self._path, self._file, chunk.byte_offset, chunk.size)
            values[first : first + each] = np.frombuffer(self._unfiltered(name, stored, filters, dtype, each), dtype)
            found.add(first)
        if len(found) != wanted:
            raise self._unlike(name, f"{wanted:,} different chunks", f"{len(found):,}")
        return values[:length]

    def _unfiltered(self, name: str, stored: bytes, filters: list[int], dtype: np.dtype[Any], each: int) -> bytes:
        """The bytes of a chunk before it was packed."""
        size = each * dtype.itemsize
        for kind in reversed(filters):
            if kind == _DEFLATE:
                stored = zlib.decompressobj().decompress(stored, size + _CHECKSUM_BYTES)
            elif kind == _FLETCHER32:
                stored, end = stored[:-_CHECKSUM_BYTES], stored[-_CHECKSUM_BYTES:]
                if int.from_bytes(end, "little") != _fletcher32(stored):
                    raise self._unlike(name, "chunks that agree with their checksum", "one that was damaged")
            elif kind == _SHUFFLE:
                stored = np.frombuffer(stored, np.uint8).reshape(dtype.itemsize, -1).T.tobytes()
            else:
                raise self._unlike(name, "an array that is not packed, or by deflate", f"filter {kind}")
        if len(stored) != size:
            raise self._unlike(name, f"chunks of {size:,} bytes", f"{len(stored):,}")
        return stored

    def _unlike(self, name: str, expected: str, got: str) -> UnreadableError:
        return unreadable(self._path, f"{expected} as {name}", got)


def _fletcher32(stored: bytes) -> int:
    """HDF5's checksum of bytes: 16-bit words, the first byte the higher one, and two sums by ones' complement.

    The sums are those of H5_checksum_fletcher32: sum1 of the words, sum2 of all sum1; 65535 stands for its multiples.
    """
    words = np.frombuffer(stored + bytes(len(stored) % 2), ">u2").astype(np.uint64)
    weights = np.arange(len(words), 0, -1, dtype=np.uint64) % np.uint64(_ONES)
    sums = (int(words.sum()), int((words * weights).sum()))
    low, high = (0 if not words.any() else each % _ONES or _ONES for each in sums)
    return high << 16 | low


class _Heaps:
    """The heaps of a file, each read once: which object of a heap begins where, and its size."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size
        self._known: dict[int, dict[int, tuple[int, int]]] = {}
        self._objects_left = size // _OBJECT.size

    def find(self, heap: int, index: int) -> tuple[int, int]:
        """The first byte of an object, and its size."""
        if heap not in self._known:
            self._known[heap] = self._objects(heap)
        if index not in self._known[heap]:
            raise unreadable(self._path, f"object {index} in the heap at byte {heap:,}", "none")
        return self._known[heap][index]

    def _objects(self, heap: int) -> dict[int, tuple[int, int]]:
        if heap + _HEAP.size > self._size:
            raise unreadable(self._path, f"a heap at byte {heap:,}", f"a file of {self._size:,} bytes")
        mark, version, length = _HEAP.unpack(_bytes(self._path, self._file, heap, _HEAP.size))
        if mark != b"GCOL" or version != 1 or heap + length > self._size:
            raise unreadable(self._path, f"a heap at byte {heap:,}", f"{mark!r}, version {version}, {length:,} bytes")
        objects, at = {}, heap + _HEAP.size
        while at + _OBJECT.size <= heap + length:
            index, _, size = _OBJECT.unpack(_bytes(self._path, self._file, at, _OBJECT.size))
            if index == 0:  # what is left of the heap is free
                break
            self._objects_left -= 1
            at += _OBJECT.size
            if at + size > heap + length or self._objects_left < 0:
                raise unreadable(self._path, "heaps with room for their objects", f"an object of {size:,} bytes")
            objects[index] = at, size
            at += (size + 7) // 8 * 8
        return objects


def _bytes(path: Path, file: BinaryIO, start: int, size: int) -> bytes:
    """`size` bytes from `start` on; a file that ends before is refused before memory is taken."""
    there = os.fstat(file.fileno()).st_size
    if start + size > there:
        raise unreadable(path, f"{start + size:,} bytes", f"{there:,}")
    file.seek(start)
    return file.read(size)
