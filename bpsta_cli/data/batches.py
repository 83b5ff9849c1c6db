"""Training batches from the store; for a GPU a thread makes the next batches while a step is computed."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from bpsta_cli.data.store import Split

Item = TypeVar("Item")
Made = TypeVar("Made")
Rows = npt.NDArray[np.integer[Any]]

AHEAD = 2
"""The most batches that wait for the step. One could be late after a slow read; more would only take memory."""
INLINE = {"cpu"}
"""Types of device on which no thread is used: reading takes below 1 % of a step there, and a second thread that
holds Python's lock makes short steps a tenth longer."""


Computed = Callable[[int], slice]
"""Which samples of so many this process computes, where several compute a batch together."""


def every(samples: int) -> slice:
    """All of them: this process is alone."""
    return slice(0, samples)


class Batch(NamedTuple):
    """Samples of a training step, in the host's memory.

    Attributes:
        x: those that this process computes, as stored and augmented: integers [b, ...].
        y: the labels of all, [B].
        rows: their numbers, [B].
    """

    x: Tensor
    y: Tensor
    rows: Tensor

    def parts(self, count: int, computed: Computed = every) -> list[Batch]:
        """The batch divided into `count` parts of nearly the same size; fewer if it has fewer samples.

        `computed` is that of `load`, where a batch was loaded to be divided so.
        """
        labels = [part for part in self.y.tensor_split(count) if len(part)]
        sizes = [len(range(len(part))[computed(len(part))]) for part in labels]
        rows = torch.split(self.rows, [len(part) for part in labels])
        return [Batch(*part) for part in zip(torch.split(self.x, sizes), labels, rows, strict=True)]


def load(
    part: Split,
    rows: Iterable[Rows],
    changed: Callable[[npt.NDArray[Any], Rows], npt.NDArray[Any]],
    *,
    device: torch.device,
    parts: int = 1,
    computed: Computed = every,
) -> Iterator[Batch]:
    """The batches that `rows` name, in their order.

    Args:
        part: the samples.
        rows: the numbers of each batch's samples, in rising order: a memory map is read front to back.
        changed: augmentation, a function of samples as stored and their numbers.
        device: where they will go. For a GPU they are put into memory that it fetches from by itself.
        parts: into how many a batch will be divided.
        computed: which samples of each part are read; the others' labels are read alone.
    """

    def batch(chosen: Rows) -> Batch:
        read = np.concatenate([rows[computed(len(rows))] for rows in np.array_split(chosen, parts)])
        x = torch.from_numpy(changed(part.x[read], read))
        y = torch.from_numpy(part.y[chosen])
        numbers = torch.from_numpy(chosen)
        return Batch(x.pin_memory(), y.pin_memory(), numbers) if device.type == "cuda" else Batch(x, y, numbers)

    return map(batch, rows) if device.type in INLINE else ahead(batch, rows)


def ahead(make: Callable[[Item], Made], items: Iterable[Item], depth: int = AHEAD) -> Iterator[Made]:
    """make(item) for every item in order, up to `depth` of them made in a thread before they are asked for.

    What `make` raises is raised here, in its turn. The thread ends with the iterator, at the latest after the
    item that it is at: when all are made, when one has failed, when it is closed or forgotten, on Ctrl-C.
    """
    rest = iter(items)
    with ThreadPoolExecutor(1, thread_name_prefix="bpsta-data") as thread:
        waiting = deque(thread.submit(make, item) for item in itertools.islice(rest, depth))
        try:
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(thread.submit(make, item) for item in itertools.islice(rest, 1))
                yield made
        finally:
            for future in waiting:
                future.cancel()
