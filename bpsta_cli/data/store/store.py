"""The prepared store: a folder of memory-mapped arrays and their manifest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset, Kind
from bpsta_cli.data.encoding import Resize, SplitBy
from bpsta_cli.data.preparation import Settings, settings_for
from bpsta_cli.data.sources import SPLITS, Progress, Source, SplitName, find, hold_out
from bpsta_cli.data.store import build, manifest
from bpsta_cli.data.store.manifest import Manifest
from bpsta_cli.errors import DataError


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
        x: integers, memory-mapped and read-only: [N, C, H, W] for images, [N, T, C, H, W] for events and sound.
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
    """

    path: Path
    manifest: Manifest

    @property
    def content_hash(self) -> str:
        """Names what is inside: equal on two machines if and only if a network sees the same."""
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
        return self.manifest.settings.T

    @property
    def kind(self) -> Kind:
        """What the samples are."""
        if self.T is None:
            return "image"
        return "speech" if self.manifest.settings.split_by is None else "events"

    @property
    def split_description(self) -> str:
        """Which split it is, and what of it is missing: belongs beside every number from it."""
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
        """A memory-mapped array, as long and of the shape and type that the manifest says."""
        file, expected = self.path / f"{name}.npy", self.manifest.arrays[name]
        if not file.is_file():
            raise manifest.damaged(file, f"{expected.bytes:,} bytes", "no such file")
        size = file.stat().st_size
        if size != expected.bytes:
            raise manifest.damaged(file, f"{expected.bytes:,} bytes", f"{size:,}")
        try:
            array: npt.NDArray[Any] = np.load(file, mmap_mode="r")
        except ValueError as error:
            raise manifest.damaged(file, "a NumPy array", str(error)) from error
        if (array.dtype.name, array.shape) != (expected.dtype, expected.shape):
            got = f"{array.dtype.name} {array.shape}"
            raise manifest.damaged(file, f"{expected.dtype} {expected.shape}", got)
        return array

    def verify(self) -> None:
        """Read every array and compare its checksum.

        Raises:
            DataError: one differs from the manifest.
        """
        for name, expected in self.manifest.arrays.items():
            got = manifest.checksum(self._array(name))
            if got != expected.sha256:
                raise manifest.damaged(self.path / f"{name}.npy", f"SHA-256 {expected.sha256}", got)


def open_store(path: Path, *, verify: bool = False) -> Store:
    """The store at `path`. Lengths, shapes and types are always checked, checksums with `verify`.

    Raises:
        DataError: there is no store, or it is damaged.
    """
    store = Store(path, manifest.read(path))
    for split in SPLITS:
        store.split(split)
    if verify:
        store.verify()
    return store


def whole_store(path: Path) -> Store | None:
    """The store at `path`; None where there is none that opens."""
    try:
        return open_store(path)
    except DataError:
        return None


def _name_of(dataset: Dataset, source: Path | None) -> str:
    """The data set's folder in prepared/; each folder of the user's own has one for itself."""
    return f"{dataset.name}/{_folder_key(source)}" if dataset.user_supplied and source else dataset.name


def _folder_key(source: Path) -> str:
    """A name for a folder that no other folder shares: its own and eight digits of its whole path's hash."""
    whole = source.resolve()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", whole.name).strip(".") or "root"
    return f"{plain}-{sha256(str(whole).encode()).hexdigest()[:8]}"


def store_path(
    data_dir: Path,
    name: str,
    *,
    T: int | None,
    source: Path | None = None,
    split_by: SplitBy = "number",
    size: int | None = None,
    resize: Resize = "sum",
    test_fraction: float | None = None,
    split_seed: int = 0,
) -> Path:
    """Where `prepare` with these arguments puts the store: prepared/digits/images, prepared/n-mnist/T8-number.

    Raises:
        DataError: an argument that this data set cannot be prepared with.
    """
    dataset = catalogue.described(name, source)
    settings = settings_for(
        dataset,
        T=T,
        split_by=split_by,
        size=size,
        resize=resize,
        test_fraction=test_fraction,
        split_seed=split_seed,
    )
    return settings.path(data_dir, _name_of(dataset, source))


def stores_of(data_dir: Path, name: str) -> list[Store]:
    """The whole stores of data set `name`; hidden folders are half-built ones."""
    folder_of_all = data_dir / "prepared" / name
    files = [*folder_of_all.glob(f"[!.]*/{manifest.FILE}"), *folder_of_all.glob(f"[!.]*/[!.]*/{manifest.FILE}")]
    return [store for file in sorted(files) if (store := whole_store(file.parent))]


def store_with(data_dir: Path, name: str, content_hash: str) -> Store | None:
    """The store of data set `name` with this content, whatever it was made from; None if there is none."""
    return next((store for store in stores_of(data_dir, name) if store.content_hash == content_hash), None)


def prepare(
    name: str,
    *,
    T: int | None,
    source: Path | None = None,
    data_dir: Path = Path("data"),
    split_by: SplitBy = "number",
    size: int | None = None,
    resize: Resize = "sum",
    test_fraction: float | None = None,
    split_seed: int = 0,
    progress: Progress | None = None,
    processes: int | None = None,
) -> Store:
    """The store of data set `name`, made if it is not there or not as asked.

    A store that is there is kept, unless a `source` is given whose files differ from those it was
    made from in name or size. A damaged store is made anew.

    Args:
        name: a name in the catalogue.
        T: frames a recording is cut into; images do not depend on it.
        source: the folder that holds the files; None for data_dir/raw, downloaded to if need be.
        data_dir: holds raw/ and prepared/.
        split_by: cut recordings into frames of as many events ("number") or as long ("time").
        size: rows and columns of the frames, a divisor of the sensor's; None for the sensor's own. Images of
            a folder of one's own are brought to any size.
        resize: "sum" adds up the events of a cell (of images: takes the mean), "nearest" keeps one pixel of it.
        test_fraction: share of the training samples to hold out, for a copy without a test split.
        split_seed: which ones.
        progress: called with samples done, their total, and what is under way.
        processes: how many read at the same time; None: one a processor where there is much to read.

    Raises:
        DataError: an unusable argument, missing or damaged files, or a failed download.
    """
    dataset = catalogue.described(name, source)
    settings = settings_for(
        dataset,
        T=T,
        split_by=split_by,
        size=size,
        resize=resize,
        test_fraction=test_fraction,
        split_seed=split_seed,
    )
    target = settings.path(data_dir, _name_of(dataset, source))
    store = _usable(target, dataset, settings)
    if store is not None and source is None:
        return store
    progress = progress or _silent
    progress(0, 0, f"{name}: looking for the files, or downloading them")
    found = find(dataset, source, data_dir / "raw")
    if store is not None and store.manifest.source == found.fingerprint():
        return store
    if test_fraction is not None:
        found = hold_out(dataset, found, test_fraction, split_seed)
    return _build(target, dataset, settings, found, progress, processes)


def _build(
    target: Path, dataset: Dataset, settings: Settings, found: Source, progress: Progress, processes: int | None
) -> Store:
    try:
        with build.locked(target):
            store = _usable(target, dataset, settings)  # another process may have made it meanwhile
            if store is None or store.manifest.source != found.fingerprint():
                build.build(target, dataset, settings, found, progress, processes)
            return open_store(target)
    except OSError as error:
        raise DataError(
            f"{target} cannot be prepared",
            expected="files that can be read and a folder that can be written",
            got=str(error),
            todo="Check the permissions and the room on the disk.",
        ) from error


def _silent(_done: int, _total: int, _text: str) -> None:
    """No progress."""


def _usable(target: Path, dataset: Dataset, settings: Settings) -> Store | None:
    """The store at `target` if it is whole and as asked."""
    store = whole_store(target)
    return store if store is not None and store.manifest.wanted(dataset, settings) else None
