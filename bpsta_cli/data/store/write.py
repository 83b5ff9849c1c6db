"""An array written chunk by chunk: memory holds a few chunks, whatever the array's length."""

from __future__ import annotations

import math
import os
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.store.manifest import ArrayRecord, chunks
from bpsta_cli.errors import DataError

Array = npt.NDArray[Any]


class ArrayWriter:
    """An .npy file that grows chunk by chunk, and its checksum with it; a context manager.

    The first chunk decides shape and type. A chunk of wider integers widens what is there.

    Args:
        file: where; replaced if it is there.
        rows: length of the first axis in the end.
    """

    def __init__(self, file: Path, rows: int) -> None:
        self.file, self.rows, self.done = file, rows, 0
        self.dtype: np.dtype[Any] | None = None
        self.shape: tuple[int, ...] = (rows,)
        self._digest, self._out = sha256(), file.open("wb")

    def __enter__(self) -> ArrayWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._out.close()

    def append(self, chunk: Array) -> None:
        """Write the rows of `chunk` after those that are there.

        Raises:
            DataError: the disk has no room for the whole array.
            OSError: it cannot be written.
        """
        if self.dtype is None:
            self._begin(chunk.dtype, (self.rows, *chunk.shape[1:]))
        elif chunk.dtype.itemsize > self.dtype.itemsize:
            self._widen(chunk.dtype)
        if chunk.shape[1:] != self.shape[1:]:
            raise ValueError(f"a chunk of {chunk.shape[1:]} in an array of {self.shape[1:]}")
        self._put(chunk)
        self.done += len(chunk)

    def record(self) -> ArrayRecord:
        """The finished file's record; call after the last chunk. The file is on the disk then."""
        self._out.flush()
        if self.dtype is None or self.done != self.rows:
            raise ValueError(f"{self.done} of {self.rows} rows were written")
        os.fsync(self._out.fileno())
        size = self._out.tell()
        return ArrayRecord(dtype=self.dtype.name, shape=self.shape, bytes=size, sha256=self._digest.hexdigest())

    def _begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        _check_room(self.file.parent, math.prod(shape) * dtype.itemsize)
        self.dtype, self.shape, self._digest = dtype, shape, sha256()
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._out, header)

    def _put(self, chunk: Array) -> None:
        content = np.ascontiguousarray(chunk, dtype=self.dtype).data
        self._digest.update(content)
        self._out.write(content)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Write the rows so far again, in wider integers, and continue in the new file."""
        self._out.close()
        narrow = self.file.rename(self.file.with_suffix(".narrow"))
        self._out = self.file.open("wb")
        shape, done = self.shape, self.done
        self._begin(dtype, shape)
        with narrow.open("rb") as file:
            np.lib.format.read_magic(file)
            *_, there = np.lib.format.read_array_header_1_0(file)
            for rows in chunks((done, *shape[1:]), dtype):
                count = (rows.stop - rows.start) * math.prod(shape[1:])
                self._put(np.fromfile(file, there, count).reshape(-1, *shape[1:]))
        narrow.unlink()


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"no room to write {folder.parent}",
            expected=f"{needed:,} bytes",
            got=f"{free:,}",
            todo="Free some space, lower T, or choose another data folder.",
        )
