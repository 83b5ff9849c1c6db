"""What is on the disk of each data set: what is downloaded, what is prepared, and how large both are."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.store.locate import stores_of


@dataclass(frozen=True)
class Status:
    """What is on the disk of one data set.

    Attributes:
        name: the data set.
        stores: the folders of its stores, whole ones alone.
        bytes: what their arrays take.
        downloaded: bytes of what lies in raw/, whole or not.
    """

    name: str
    stores: tuple[Path, ...]
    bytes: int
    downloaded: int

    @property
    def prepared(self) -> bool:
        """Whether there is any store."""
        return bool(self.stores)


def catalogue_status(data_dir: Path) -> list[Status]:
    """One status for each data set of the catalogue, in its order."""
    return [_status(data_dir, catalogue.get(name)) for name in catalogue.names()]


def _status(data_dir: Path, row: Dataset) -> Status:
    stores = stores_of(data_dir, row.name)
    size = sum(each.bytes for store in stores for each in store.manifest.arrays.values())
    downloaded = sum(_size(data_dir / "raw" / name) for name in row.raw)
    return Status(row.name, tuple(store.path for store in stores), size, downloaded)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if not path.is_dir():
        return path.stat().st_size if path.is_file() else 0
    return sum((Path(root) / name).stat().st_size for root, _, names in os.walk(path) for name in names)
