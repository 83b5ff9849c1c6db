"""A function applied to many items by several processes: results in order, few of them in memory at a time."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

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


def enough_processes(files: Collection[Path], items: int) -> int:
    """How many processes to read these files with: one, where starting others takes longer than the reading."""
    size = sum(file.stat().st_size for file in files) + _FILE_BYTES * len(files)
    if size < _ALONE_BYTES or items < _FEW:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def parallel_map(make: Callable[[Item], Array], items: Sequence[Item], processes: int) -> Iterator[Array]:
    """The arrays [n, ...] that `make` gives for each item, in the order of the items; several may come as one array.

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
