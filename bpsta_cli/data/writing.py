"""Arrays written block by block, made by several processes: memory holds a few blocks, whatever the array's length."""

from __future__ import annotations

import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.manifest import ArrayRecord, chunks
from bpsta_cli.errors import DataError

Item = TypeVar("Item")
Array = npt.NDArray[Any]
_ALONE_BYTES = 1 << 27
"""Less than this is read by one process: starting others takes about as long (measured: 1.5 s)."""
_FEW = 32
"""So few items are large ones, which take longer to hand over than to read."""
_FILE_BYTES = 1 << 14
"""What opening a file counts as."""
_MESSAGE_BYTES = 1 << 22
"""What a worker process hands over at a time: enough to hide the handing over, little to hold."""
_MOST_ITEMS = 256
_AHEAD = 3
"""Messages under way for each process."""
_LOOK_SECONDS = 1.0
"""How often a process looks whether the one that asked for it was killed."""


class ArrayWriter:
    """An .npy file that grows block by block, and its checksum with it; a context manager.

    The first block settles shape and type. A block of wider integers widens what is there.

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

    def append(self, block: Array) -> None:
        """Write the rows of `block` after those that are there.

        Raises:
            DataError: the disk has no room for the whole array.
            OSError: it cannot be written.
        """
        if self.dtype is None:
            self._begin(block.dtype, (self.rows, *block.shape[1:]))
        elif block.dtype.itemsize > self.dtype.itemsize:
            self._widen(block.dtype)
        if block.shape[1:] != self.shape[1:]:
            raise ValueError(f"a block of {block.shape[1:]} in an array of {self.shape[1:]}")
        self._put(block)
        self.done += len(block)

    def record(self) -> ArrayRecord:
        """The finished file's record; call after the last block."""
        self._out.flush()
        if self.dtype is None or self.done != self.rows:
            raise ValueError(f"{self.done} of {self.rows} rows were written")
        size = self._out.tell()
        return ArrayRecord(dtype=self.dtype.name, shape=self.shape, bytes=size, sha256=self._digest.hexdigest())

    def _begin(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        _check_room(self.file.parent, math.prod(shape) * dtype.itemsize)
        self.dtype, self.shape, self._digest = dtype, shape, sha256()
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._out, header)

    def _put(self, block: Array) -> None:
        content = np.ascontiguousarray(block, dtype=self.dtype).data
        self._digest.update(content)
        self._out.write(content)

    def _widen(self, dtype: np.dtype[Any]) -> None:
        """Write the rows so far once more, in wider integers, and go on in that file."""
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


def enough_processes(files: Collection[Path], items: int) -> int:
    """How many shall read these files: one where the others would take longer to start than the work takes."""
    size = sum(file.stat().st_size for file in files) + _FILE_BYTES * len(files)
    if size < _ALONE_BYTES or items < _FEW:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(make: Callable[[Item], Array], items: Sequence[Item], processes: int) -> Iterator[Array]:
    """What `make` gives of each item [n, ...], in the items' order, some together; by so many processes.

    Few results wait at a time, so the memory needed does not depend on how many items there are.

    Raises:
        BpstaError: what `make` raised, here or in another process.
    """
    if processes < 2 or len(items) < 2:
        yield from map(make, items)
        return
    from joblib.externals.loky import ProcessPoolExecutor  # unlike the standard one, needs no guarded __main__

    first = make(items[0])
    yield first
    each = min(_MOST_ITEMS, max(1, _MESSAGE_BYTES // max(1, first.nbytes)))
    messages = [items[at : at + each] for at in range(1, len(items), each)]
    pool = ProcessPoolExecutor(processes, initializer=_end_with, initargs=(os.getpid(),))
    try:
        waiting = deque(pool.submit(_make_all, make, message) for message in messages[: _AHEAD * processes])
        for message in [*messages[_AHEAD * processes :], *([None] * len(waiting))]:
            yield waiting.popleft().result()
            if message is not None:
                waiting.append(pool.submit(_make_all, make, message))
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _end_with(parent: int) -> None:
    """Make this process end soon after `parent`, however that ends: nobody else would stop it."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_SECONDS)
        os._exit(1)

    threading.Thread(target=look, daemon=True).start()


def _make_all(make: Callable[[Item], Array], items: Sequence[Item]) -> Array:
    """The results in one array, which is handed over faster than many."""
    return np.concatenate([make(item) for item in items])
