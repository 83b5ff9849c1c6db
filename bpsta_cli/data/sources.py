"""What a loader returns: the files that it found, and how their samples are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.errors import DataError
from bpsta_cli.reading.hdf5 import Piece

SplitName = Literal["train", "test", "validation"]
SPLITS: tuple[SplitName, ...] = ("train", "test")
"""Those that every store holds."""
FILES_LOOKED_INTO, PIECE = 1000, 4096
"""Of how many files of a copy, evenly spread over them, how many bytes at two places count in its fingerprint."""


@dataclass(frozen=True)
class Images:
    """One split of images: x uint8 [N, C, H, W], y int64 [N]."""

    x: npt.NDArray[np.uint8]
    y: npt.NDArray[np.int64]


class Clip(NamedTuple):
    """A stretch of a recording that holds several samples: start <= t < stop, in microseconds."""

    file: Path
    start: int
    stop: int

    def __str__(self) -> str:
        return f"{self.file} from {self.start} to {self.stop} us"


class Row(NamedTuple):
    """One of the recordings that a file holds: its number from 0, and where its arrays lie in the file."""

    file: Path
    number: int
    places: tuple[Piece, ...]

    def __str__(self) -> str:
        return f"{self.file}, recording {self.number}"


Progress = Callable[[int, int, str], None]
"""Called with the number of samples done, their total, and a text that says what is being done."""
Item = Path | Clip | Row | str
"""What is read at once. A plain text names a sample that is made, not read; messages show the text of any item."""


@dataclass(frozen=True)
class Recordings:
    """One split of event recordings, which are read one after another.

    Attributes:
        items: one for each recording.
        y: int64 [N], the label of each.
        read: reads one item; raises DataError if it is damaged. Other processes call it too, so it is a
            module's function or a partial of one.
    """

    items: tuple[Item, ...]
    y: npt.NDArray[np.int64]
    read: Callable[[Any], Events]

    def take(self, rows: Sequence[int]) -> Recordings:
        """The recordings at `rows` alone."""
        return replace(self, items=tuple(self.items[row] for row in rows), y=self.y[list(rows)])


@dataclass(frozen=True)
class Samples:
    """One split of samples that are stored as they are read; a file holds one or more.

    Attributes:
        items: the files.
        y: int64 [N], the label of each sample.
        read: gives the samples [n, ...] of one file, prepared so; as `Recordings.read`.
        rows: which samples a network sees, some more than once; None for each once.
    """

    items: tuple[Item, ...]
    y: npt.NDArray[np.int64]
    read: Callable[[Any, AppliedPreparation], npt.NDArray[Any]]
    rows: npt.NDArray[np.int64] | None = None

    def take(self, rows: Sequence[int]) -> Samples:
        """The samples at `rows` alone, of files that hold one each."""
        return replace(self, items=tuple(self.items[row] for row in rows), y=self.y[list(rows)])


Split = Images | Recordings | Samples


@dataclass(frozen=True)
class Source:
    """Files that were found, not yet read.

    Attributes:
        root: the folder that holds them.
        files: all of them.
        read: gives one split; raises DataError if a file is damaged or the split is missing.
        available: the splits that are there.
        row: the row of this copy, where it is another version than the catalogue's.
        edited: the user's own files, which may change without changing their size: their times count too.
        complete: fills in what only reading the files can tell of the row, with the given number of processes.
    """

    root: Path
    files: tuple[Path | str, ...]
    read: Callable[[SplitName], Split]
    available: tuple[SplitName, ...] = SPLITS
    row: Dataset | None = None
    edited: bool = False
    complete: Callable[[Dataset, Progress, int | None], Dataset] | None = None

    @property
    def splits(self) -> tuple[SplitName, ...]:
        """Those to store: both that every store holds, and the data set's own validation part."""
        return (*SPLITS, "validation") if "validation" in self.available else SPLITS

    def fingerprint(self) -> str:
        """SHA-256 over the files' names and sizes and pieces of some of them: cheap, the same on any machine.

        The pieces tell apart data sets whose files have the same names and sizes, as those of MNIST and Fashion-MNIST.
        A change that keeps every size and lies elsewhere does not show, unless the files are `edited`.
        """
        lines, above = [], len(os.fspath(self.root)) + 1
        files = sorted(os.fspath(file) for file in self.files)
        apart = -(-len(files) // FILES_LOOKED_INTO)
        for number, file in enumerate(files):
            stat = os.stat(file)  # noqa: PTH116 - of plain text, where there are very many
            time = f" {stat.st_mtime_ns}" if self.edited else ""
            pieces = "" if number % apart else f" {_pieces(file, stat.st_size)}"
            lines.append(f"{file[above:]} {stat.st_size}{time}{pieces}")
        return sha256("\n".join(lines).encode()).hexdigest()


def _pieces(file: str, size: int) -> str:
    """SHA-256 of the first bytes of a file and of those in its middle."""
    with reading.opened(Path(file), size) as stream:
        first = stream.read(PIECE)
        stream.seek(size // 2)
        return sha256(first + stream.read(PIECE)).hexdigest()


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
            todo="Check the path." if dataset.by_hand else "Check the path, or leave --source out to download.",
        )
    loader: Loader = catalogue.function(dataset.loader)
    return loader(dataset, source, raw)


def hold_out(dataset: Dataset, source: Source, fraction: float, seed: int = 0) -> Source:
    """`source` with a fraction of its training samples as its test split.

    For copies that bring no test split. Each class gives its share, as nearly as whole samples allow.
    Which ones are held out depends on the seed and their file names alone (the order of the SHA-256 of
    both), so it is the same on any machine.

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
    assert not isinstance(whole, Images)  # sources of whole images bring both splits
    held = round(len(whole.items) * fraction)
    if not 0 < held < len(whole.items):
        raise DataError(
            "unusable test fraction",
            expected=f"one that leaves both splits some of the {len(whole.items)} recordings",
            got=f"{fraction:g}, which holds out {held}",
            todo="Choose another.",
        )
    order = _shuffled_by_class([_name(item, source.root) for item in whole.items], whole.y, seed)
    rows: dict[SplitName, list[int]] = {"train": sorted(order[held:]), "test": sorted(order[:held])}
    return replace(source, read=lambda split: whole.take(rows[split]), available=SPLITS)


def _name(item: Item, root: Path) -> str:
    if isinstance(item, str):
        return item
    if isinstance(item, Clip):
        return f"{item.file.relative_to(root).as_posix()} {item.start}"
    if isinstance(item, Row):
        return f"{item.file.relative_to(root).as_posix()} {item.number}"
    return item.relative_to(root).as_posix()


def _shuffled_by_class(names: Sequence[str], labels: npt.NDArray[np.int64], seed: int) -> list[int]:
    """Rows in an order in which any first n have about the same share of each class; seed 0 hashes the names alone."""
    digest = [sha256((f"{seed} {name}" if seed else name).encode()).digest() for name in names]
    order = sorted(range(len(names)), key=digest.__getitem__)
    sizes, seen = np.bincount(labels), np.zeros(int(labels.max()) + 1, dtype=np.int64)
    place = {}
    for row in order:
        label = labels[row]
        place[row] = (seen[label] + 0.5) / sizes[label]
        seen[label] += 1
    return sorted(order, key=place.__getitem__)


def sorted_classes(names: Iterable[str]) -> tuple[str, ...]:
    """The user's own names of classes in order: by value where all are whole numbers, else as texts."""
    distinct = set(names)
    return tuple(sorted(distinct, key=int if all(name.isdecimal() for name in distinct) else None))


def damaged(path: Path, expected: str, got: str) -> DataError:
    """The error for a recording's file that cannot be read."""
    todo = "Fetch the recording again, or leave it out."
    return DataError(f"damaged recording {path}", expected=expected, got=got, todo=todo)


def missing(dataset: Dataset, source: Path, looked_for: str) -> DataError:
    """The error for a source folder that does not hold the data set's files."""
    packed = [name for name in (*dataset.checksums, *dataset.archives_by_hand) if (source / name).is_file()]
    todo = "Name the folder that holds them with --source, or leave --source out to download."
    if dataset.by_hand:
        todo = f"Get a copy (`bpsta prepare --list {dataset.name}` says where) and name its folder with --source."
    return DataError(
        f"no {dataset.title} files in the source folder",
        expected=looked_for,
        got=f"{packed[0]}, not unpacked, in {source}" if packed else f"none of these in {source}",
        todo=f"Unpack {', '.join(packed)} there." if packed else todo,
    )


def refuse_web_page(path: Path, head: bytes) -> None:
    """Raise a DataError if a file that starts with `head` is a web page that a server sent instead of the file."""
    if head.lstrip()[:1] == b"<":
        raise DataError(
            f"{path.name} is a web page, not data",
            expected="the file that was asked for",
            got=f"a file that starts with {head[:16]!r} in {path}",
            todo="The server answered with an error page or a login. Delete the file and fetch it again.",
        )
