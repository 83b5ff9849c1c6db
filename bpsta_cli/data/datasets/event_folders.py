"""Event recordings as files in folders: which of several layouts a copy has, where it lies, and its splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.sources import SPLITS, Clip, Item, Recordings, Row, Source, SplitName, missing
from bpsta_cli.errors import DataError

Listing = dict[SplitName, list[tuple[Item, int]]]
"""The items of each split with their labels."""


@dataclass(frozen=True)
class Layout:
    """One directory layout of a data set.

    Attributes:
        marks: for each split, files or folders of which one shows that the split is there.
        listing: the items below that folder.
        read: reads an item.
        extra: other files that decide what is read, such as tables of labels.
    """

    marks: dict[SplitName, tuple[str, ...]]
    listing: Callable[[Dataset, Path], Listing]
    read: Callable[[Any], Events]
    extra: tuple[str, ...] = ()

    def fits(self, folder: Path, splits: Sequence[SplitName]) -> bool:
        """Whether `folder` holds a copy with these splits."""
        return all(any((folder / mark).exists() for mark in self.marks[split]) for split in splits)


def find(
    dataset: Dataset,
    source: Path | None,
    raw: Path,
    folder: str,
    layouts: tuple[Layout, ...],
    fetch: Callable[[], None],
) -> Source:
    """The recordings in `source`, which may lack the test split, or in `raw`, downloaded if need be.

    The last of `layouts` is the one that `fetch` makes.
    """
    if source is not None:
        found = _search(source, folder, layouts, ("train",))
    else:
        remove_partial_downloads(dataset, raw / folder)
        found = _search(raw, folder, layouts, SPLITS)
        if found is None:
            unpacked = [raw / folder / mark for split in SPLITS for mark in layouts[-1].marks[split]]
            download(dataset, raw / folder, fetch, unpacked)
            found = _search(raw, folder, layouts, SPLITS)
    if found is None:
        names = " or ".join(f"{layout.marks['train'][0]}" for layout in layouts)
        raise missing(dataset, source or raw, names)
    return _source(dataset, *found)


def _search(
    root: Path, folder: str, layouts: tuple[Layout, ...], splits: Sequence[SplitName]
) -> tuple[Path, Layout] | None:
    """The first folder at or under `root` with a copy that has these splits, and its layout."""
    insides = (".", "events_np", "extract", "extract/DvsGesture", "DvsGesture", "N-Caltech101-archive")
    for outer in (".", folder, "DVS128Gesture"):
        for inside in insides:
            for layout in layouts:
                if layout.fits(root / outer / inside, splits):
                    return root / outer / inside, layout
    return None


def _source(dataset: Dataset, root: Path, layout: Layout) -> Source:
    """The recordings under `root`."""
    listing = layout.listing(dataset, root)

    def read(split: SplitName) -> Recordings:
        if not listing[split]:
            raise DataError(
                f"{dataset.title} has no {split} split here",
                expected=f"recordings in {' or '.join(str(root / mark) for mark in layout.marks[split])}",
                got="none",
                todo="Fetch that split too, or hold out training recordings with --test-fraction 0.2."
                if split == "test"
                else "Fetch that split too.",
            )
        items, labels = zip(*listing[split], strict=True)
        return Recordings(items, np.array(labels, dtype=np.int64), layout.read)

    items = [item for split in SPLITS for item, _ in listing[split]]
    files = dict.fromkeys(item.file if isinstance(item, Clip | Row) else item for item in items)
    extra = (file for pattern in layout.extra for file in root.glob(pattern))
    available = tuple(split for split in SPLITS if listing[split])
    return Source(root, (*files, *sorted(extra)), read, available)
