"""What a loader hands over, how it finds its files, and how a download fails."""

from __future__ import annotations

import contextlib
import http.client
import importlib
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Events
from bpsta_cli.errors import DataError

SplitName = Literal["train", "test", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "test")
"""Those that every store holds."""
_MD5_DIGITS = 32
_DOWNLOAD_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    tarfile.TarError,
)


@dataclass(frozen=True)
class Images:
    """One split of images: x uint8 [N, C, H, W], y int64 [N]."""

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recordings:
    """One split of event recordings, read one at a time.

    Attributes:
        files: one file a recording.
        y: int64 [N], the label of each.
        read: reads one file; raises DataError if it is damaged.
    """

    files: tuple[Path, ...]
    y: npt.NDArray[np.int64]
    read: Callable[[Path], Events]

    def take(self, rows: Sequence[int]) -> Recordings:
        """The recordings at `rows` alone."""
        return Recordings(tuple(self.files[row] for row in rows), self.y[list(rows)], self.read)


@dataclass(frozen=True)
class Clips:
    """One split of sound clips, read one at a time.

    Attributes:
        files: one file a clip.
        y: int64 [N], the label of each.
        read: reads one file into its samples and their rate in Hz; raises DataError if it is damaged.
        rows: which clips a network sees, some more than once; None for each once.
    """

    files: tuple[Path, ...]
    y: npt.NDArray[np.int64]
    read: Callable[[Path], tuple[npt.NDArray[np.float32], int]]
    rows: npt.NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Source:
    """Files that were found, not yet read.

    Attributes:
        root: the folder that holds them.
        files: all of them.
        read: gives one split; raises DataError if a file is damaged or the split is missing.
        available: the splits that are there.
        row: the catalogue's row where this copy is of another version than its own.
    """

    root: Path
    files: tuple[Path, ...]
    read: Callable[[SplitName], Images | Recordings | Clips]
    available: tuple[SplitName, ...] = SPLITS
    row: Dataset | None = None

    @property
    def splits(self) -> tuple[SplitName, ...]:
        """Those to store: both that every store holds, and the data set's own validation part."""
        return (*SPLITS, "validation") if "validation" in self.available else SPLITS

    def fingerprint(self) -> str:
        """SHA-256 over the files' names and sizes: cheap, the same on any machine.

        A change that keeps every size does not show.
        """
        names = ((file.relative_to(self.root).as_posix(), file.stat().st_size) for file in self.files)
        lines = sorted(f"{name} {size}" for name, size in names)
        return sha256("\n".join(lines).encode()).hexdigest()


Loader = Callable[[Dataset, Path | None, Path], Source]


def find(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """The files of `dataset`: under `source` if given, else under `raw`, else downloaded to `raw`.

    Raises:
        DataError: they are not there, or the download failed.
    """
    if source is not None and not source.is_dir():
        raise DataError(
            f"no source folder for {dataset.name}",
            expected="a folder that exists",
            got=str(source),
            todo="Check the path, or leave --source out to download.",
        )
    module, function = dataset.loader.split(":")
    loader = cast(Loader, getattr(importlib.import_module(module), function))
    return loader(dataset, source, raw)


def hold_out(dataset: Dataset, source: Source, fraction: float) -> Source:
    """`source` with a fraction of its training recordings as its test split.

    For partial copies that bring no test split. Which ones are held out depends on their file names
    alone (the order of the names' SHA-256), so it is the same on any machine.

    Raises:
        DataError: the source has a test split, or is too small for the fraction.
    """
    if "test" in source.available:
        raise DataError(
            f"a test fraction for {dataset.title}, which brings a test split",
            expected="no test fraction",
            got=f"{fraction:g}",
            todo="Leave it out: the test split is used as it is.",
        )
    whole = source.read("train")
    assert isinstance(whole, Recordings)  # image sources bring both splits
    names = [file.relative_to(source.root).as_posix() for file in whole.files]
    held = round(len(names) * fraction)
    if not 0 < held < len(names):
        raise DataError(
            "unusable test fraction",
            expected=f"one that leaves both splits some of the {len(names)} recordings",
            got=f"{fraction:g}, which holds out {held}",
            todo="Choose another.",
        )
    order = sorted(range(len(names)), key=lambda row: sha256(names[row].encode()).digest())
    rows: dict[SplitName, list[int]] = {"train": sorted(order[held:]), "test": sorted(order[:held])}
    return replace(source, read=lambda split: whole.take(rows[split]), available=SPLITS)


def missing(dataset: Dataset, source: Path, looked_for: str) -> DataError:
    """The error for a source folder that does not hold the data set's files."""
    return DataError(
        f"no {dataset.title} files in the source folder",
        expected=looked_for,
        got=f"none of these in {source}",
        todo="Name the folder that holds them with --source, or leave --source out to download.",
    )


def download(dataset: Dataset, folder: Path, fetch: Callable[[], Any]) -> None:
    """Run another library's `fetch`; what it prints goes to stderr.

    Args:
        dataset: the row, for its checksums.
        folder: where a copy fetched by hand belongs.
        fetch: does the download.

    Raises:
        DataError: it failed; names the files, their MD5 and where to put them.
    """
    try:
        with contextlib.redirect_stdout(sys.stderr):
            fetch()
    except _DOWNLOAD_ERRORS as error:
        files = ", ".join(
            f"{name} ({'MD5' if len(checksum) == _MD5_DIGITS else 'SHA-256'} {checksum})"
            for name, checksum in dataset.checksums.items()
        )
        raise DataError(
            f"download of {dataset.title} failed",
            expected=f"a connection to {dataset.source}",
            got=" ".join(str(error).split()) or type(error).__name__,
            todo=f"Fetch {files} by hand, unpack into {folder} and run again, "
            "or name a folder that holds a copy with --source.",
        ) from error
