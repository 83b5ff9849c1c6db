"""An opened store: a folder of memory-mapped arrays and their manifest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Kind
from bpsta_cli.data.sources import SPLITS, Progress, SplitName
from bpsta_cli.data.store import manifest, verified
from bpsta_cli.data.store.manifest import Manifest
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError
from bpsta_cli.reading.arrays import mapped_npy


class Rows:
    """Some rows of an array, in any order, read when they are indexed: `Rows(x, rows)[i]` is x[rows[i]]."""

    def __init__(self, array: npt.NDArray[Any] | Rows, rows: npt.NDArray[np.integer[Any]]) -> None:
        self.array, self.rows = array, rows

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]]) -> npt.NDArray[Any]:
        selected: npt.NDArray[Any] = self.array[self.rows[index]]
        return selected


@dataclass(frozen=True)
class Split:
    """One split of a store.

    Attributes:
        x: integers, memory-mapped and read-only: [N, C, H, W] for images, [N, T, C, H, W] for events, sound and series.
        y: labels, int64 [N].
        ids: which stored sample each one is, as some may be repeated; None: each once and in order.
    """

    x: npt.NDArray[Any] | Rows
    y: npt.NDArray[np.int64]
    ids: npt.NDArray[np.integer[Any]] | None = None

    def __len__(self) -> int:
        return len(self.y)

    def subset(self, rows: npt.NDArray[np.integer[Any]]) -> Split:
        """The samples with these numbers; nothing is read until they are asked for."""
        return Split(Rows(self.x, rows), self.y[rows], rows if self.ids is None else self.ids[rows])

    @property
    def distinct(self) -> int:
        """How many samples there are when each counts once."""
        return len(self) if self.ids is None else len(np.unique(self.ids))


@dataclass(frozen=True)
class Store:
    """An opened store. Attributes beyond these are the manifest's.

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        checked: whether all of the manifest is covered by a checksum; one of an older version is not.
    """

    path: Path
    manifest: Manifest
    checked: bool = True

    @property
    def content_hash(self) -> str:
        """The name of the content: equal on two machines if and only if a network sees the same data."""
        return self.manifest.content_hash

    @property
    def dataset(self) -> str:
        """The data set's name in the catalogue."""
        return self.manifest.dataset

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one time step."""
        return self.manifest.shape

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels' names."""
        return self.manifest.classes

    @property
    def T(self) -> int | None:  # noqa: N802 - the field's name
        """Time steps of the frames; None for images, which fit any T."""
        return self.manifest.preparation.T

    @property
    def kind(self) -> Kind:
        """What the samples are."""
        if self.T is None:
            return "image"
        if self.manifest.preparation.kind is not None:
            return self.manifest.preparation.kind
        return "speech" if self.manifest.preparation.split_by is None else "events"

    @property
    def split_description(self) -> str:
        """Which split it is, and what of it is missing. It is shown beside every number from this store."""
        partial = self.manifest.partial
        return self.manifest.split + (f"; a partial copy: {partial}" if partial else "")

    @property
    def scale(self) -> float:
        """Multiplies the stored integers to give the network's input."""
        return self.manifest.scale

    @cached_property
    def _splits(self) -> dict[SplitName, Split]:
        names: tuple[SplitName, ...] = (*SPLITS, "validation") if self.has_validation else SPLITS
        return {name: self._split(name) for name in names}

    def _split(self, name: SplitName) -> Split:
        whole = Split(self._array(f"{name}_x"), np.array(self._array(f"{name}_y")))
        rows = f"{name}_rows"
        return whole.subset(np.array(self._array(rows))) if rows in self.manifest.arrays else whole

    @property
    def has_validation(self) -> bool:
        """Whether the data set brings a validation part of its own."""
        return "validation_x" in self.manifest.arrays

    def split(self, name: SplitName) -> Split:
        """The "train" or the "test" split, or "validation" if `has_validation`."""
        return self._splits[name]

    def _array(self, name: str) -> npt.NDArray[Any]:
        """A memory-mapped array, checked to have the length, shape and type that the manifest says."""
        file, expected = self.path / f"{name}.npy", self.manifest.arrays[name]
        if not file.is_file():
            raise manifest.damaged(file, f"{expected.bytes:,} bytes", "no such file")
        size = file.stat().st_size
        if size != expected.bytes:
            raise manifest.damaged(file, f"{expected.bytes:,} bytes", f"{size:,}")
        try:
            array = mapped_npy(file)
        except UnreadableError as error:
            raise manifest.damaged(file, error.expected, error.got) from error
        # the types are compared with their byte order, which the name leaves out
        if (array.dtype, array.shape) != (np.dtype(expected.dtype), expected.shape) or not array.flags.c_contiguous:
            got = f"{array.dtype.str} {array.shape}"
            raise manifest.damaged(file, f"{expected.dtype} {expected.shape}", got)
        return array

    def verify(self) -> None:
        """Read every array and compare its checksum.

        Raises:
            DataError: one differs from the manifest.
        """
        for name in self.manifest.arrays:
            self._verify(name)

    def verify_once(self, progress: Progress | None = None) -> None:
        """The same for those arrays that this machine has not found whole before, in this version of their files.

        Args:
            progress: called with arrays done, their number, and which is read.

        Raises:
            DataError: one differs from the manifest.
        """
        for done, name in enumerate(self.manifest.arrays):
            file = self.path / f"{name}.npy"
            version = verified.version(file, self.manifest.arrays[name].sha256)
            if verified.is_known(version):
                continue
            if progress is not None:
                progress(done, len(self.manifest.arrays), f"checking {file}")
            self._verify(name)
            verified.remember(version)

    def _verify(self, name: str) -> None:
        expected, got = self.manifest.arrays[name].sha256, manifest.checksum(self._array(name))
        if got != expected:
            raise manifest.damaged(self.path / f"{name}.npy", f"SHA-256 {expected}", got)


def open_store(path: str | Path, *, verify: bool = False) -> Store:
    """The store at `path`. Lengths, shapes and types are always checked, checksums with `verify`.

    Raises:
        DataError: there is no store, or it is damaged.
    """
    path = Path(path)
    store = Store(path, *manifest.read(path))
    for split in SPLITS:
        store.split(split)
    if verify:
        store.verify()
    return store


def whole_store(path: str | Path) -> Store | None:
    """The store at `path`; None where there is none that opens."""
    try:
        return open_store(path)
    except DataError:
        return None


def with_checksum(store: Store) -> Store:
    """The same store, whose manifest gets a checksum where an older version wrote it without one."""
    if store.checked:
        return store
    manifest.write(store.path, store.manifest)
    return open_store(store.path)
