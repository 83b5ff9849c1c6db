"""Random numbers that follow from a name and a place: the same on every machine, in whatever order they are drawn.

The numbers are those of Philox4x64 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3",
doi:10.1145/2063384.2063405), a function of a key and a counter, as numpy implements it. The key is the first half of
the SHA-256 of the stream's name. Only raw words of 64 bits are taken from numpy, which promises that these stay; what
`numpy.random.Generator` makes of them may change with numpy's version, and some of it asks the C library for
logarithms.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
_FRACTION_BITS = 53
_KEY_BYTES = 16


class Stream:
    """A sequence of random words for each place; places have nothing to do with each other.

    Args:
        name: what the numbers are for, as in Stream("dropout", seed, epoch, "dropout1").
    """

    def __init__(self, *name: str | int) -> None:
        digest = hashlib.sha256("\0".join(map(str, name)).encode()).digest()
        self._philox = np.random.Philox(key=int.from_bytes(digest[:_KEY_BYTES], "little"))
        self._state: dict[str, Any] = dict(self._philox.state)

    def words(self, count: int, place: int = 0) -> Words:
        """The first `count` words, each of 64 random bits, at `place`: a whole number from 0, below 2^64."""
        counter = np.array([0, place, 0, 0], dtype=np.uint64)
        state: Any = self._state | {"state": self._state["state"] | {"counter": counter}}
        self._philox.state = state
        return self._philox.random_raw(count)

    def uniform(self, *shape: int) -> npt.NDArray[np.float64]:
        """Numbers in [0, 1), multiples of 2^-53, in an array of this shape; all at place 0."""
        words = self.words(math.prod(shape)) >> np.uint64(64 - _FRACTION_BITS)
        return words.astype(np.float64).reshape(shape) * 2.0**-_FRACTION_BITS

    def permutation(self, count: int) -> npt.NDArray[np.int64]:
        """The numbers from 0 to `count` - 1 in random order: sorted by a random word each."""
        return np.argsort(self.words(count), kind="stable")
