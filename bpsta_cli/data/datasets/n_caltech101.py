"""N-Caltech101: the pictures of Caltech101 seen by a moving event camera, one recording a file, a folder a class."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.datasets.event_folders import Layout, Listing, find
from bpsta_cli.data.formats.event_files import read_n_mnist
from bpsta_cli.data.sources import Source, damaged
from bpsta_cli.errors import DataError

_FOLDER, _INNER = "NCALTECH101", "Caltech101"
_TEST_SHARE = 10
"""One recording of so many tests."""


def n_caltech101(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """N-Caltech101: CLASS/image_NNNN.bin in `source`, its Caltech101/, or these in its NCALTECH101/ or extract/.

    Of each class the first recordings by number train and the last tenth, rounded down, tests. Without `source` raw/ is
    searched in the same way, and tonic's archive downloaded if there is nothing.

    Raises:
        DataError: no such folders in `source`, recordings in other ones, or the download failed.
    """
    classes = tuple(f"{name}/" for name in dataset.classes)
    inner = Layout({"train": classes, "test": classes}, _recordings, read_n_mnist)
    mark = (f"{_INNER}/",)
    outer = Layout({"train": mark, "test": mark}, lambda row, root: _recordings(row, root / _INNER), read_n_mnist)
    return find(dataset, source, raw, _FOLDER, (inner, outer), lambda: _fetch(raw))


def _recordings(dataset: Dataset, root: Path) -> Listing:
    listing: Listing = {"train": [], "test": []}
    if others := {file.parent.name for file in root.glob("*/*.bin")} - set(dataset.classes):
        raise DataError(
            f"recordings of no class of {dataset.title}",
            expected="folders named as its classes (`bpsta prepare --list n-caltech101` shows them)",
            got=f"{', '.join(sorted(others))} in {root}",
            todo="Rename or remove them; classes of your own are read with --dataset folder.",
        )
    for label, name in enumerate(dataset.classes):
        files = sorted((root / name).glob("*.bin"), key=_number)
        first_test = len(files) - len(files) // _TEST_SHARE
        listing["train"] += [(file, label) for file in files[:first_test]]
        listing["test"] += [(file, label) for file in files[first_test:]]
    return listing


def _number(file: Path) -> int:
    digits = re.search(r"[0-9]{1,9}$", file.stem)
    if digits is None:
        raise damaged(file, "a name that ends in the recording's number", file.name)
    return int(digits[0])


def _fetch(raw: Path) -> None:
    """Tonic unpacks the archive; the recordings are in an archive in it."""
    importlib.import_module("tonic.datasets").NCALTECH101(str(raw))
    unpack: Any = importlib.import_module("tonic.download_utils").extract_archive
    for archive in (raw / _FOLDER).rglob(f"{_INNER}.zip"):
        unpack(str(archive), str(archive.parent))
