"""Series of the user's own, all of a part in one table: train.npz or train.csv, and test.npz or test.csv."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.formats import series
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Row, Samples, Source, SplitName, sorted_classes
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError, arrays, documents

Tables = dict[SplitName, Path]


class Table(NamedTuple):
    """Series [samples, time, channels], and the name of each one's class."""

    x: npt.NDArray[Any]
    labels: tuple[str, ...]


def find(source: Path) -> Tables:
    """The table of each part in a folder; nothing where it has none to train on, or has folders: those are the data."""
    if any(each.is_dir() and not each.name.startswith(".") for each in source.iterdir()):
        return {}
    tables: Tables = {}
    for split in SPLITS:
        there = [file for suffix in series.SUFFIXES if (file := source / f"{split}{suffix}").is_file()]
        if len(there) > 1:
            todo = "Leave one of them out."
            got = " and ".join(file.name for file in there)
            raise DataError(f"two tables for one part in {source}", expected="one", got=got, todo=todo)
        if there:
            tables[split] = there[0]
    return tables if "train" in tables else {}


def describe(row: Dataset, source: Path, tables: Tables, network: str) -> Dataset:
    """The catalogue's row, completed from the tables: classes, split and recipe.

    Raises:
        DataError: a table that cannot be used, or of one class.
    """
    classes = sorted_classes(read(tables["train"]).labels)
    if len(classes) < 2:
        raise series.unusable(tables["train"], "series of two or more classes", f"{len(classes)}")
    name = source.resolve().name
    split = "its train and test tables" if "test" in tables else "no test table"
    return replace(
        row,
        title=name,
        kind="series",
        classes=classes,
        split=f"{name}: {split}",
        full_scale=series.LEVELS,
        recipe=replace(row.recipe, network=network),
    )


def source_of(dataset: Dataset, root: Path, tables: Tables) -> Source:
    """The series of the tables.

    Raises:
        DataError: when a part is read: a table that cannot be used, of other channels, or of classes that do not train.
    """

    def samples(split: SplitName) -> Samples:
        if split not in tables:
            raise DataError(
                f"{dataset.title} has no {split} split",
                expected="a table test.npz or test.csv beside train, or --test-fraction",
                got="neither",
                todo="Name a share of each class to test on, such as --test-fraction 0.2.",
            )
        file, table, train = tables[split], read(tables[split]), read(tables["train"])
        unknown = set(table.labels) - set(dataset.classes)
        if unknown:
            raise series.unusable(file, f"the classes of {tables['train'].name}", f"'{min(unknown)[:40]}'")
        if table.x.shape[2] != train.x.shape[2]:
            got = f"{table.x.shape[2]:,}"
            raise series.unusable(file, f"{train.x.shape[2]:,} channels, as {tables['train'].name}", got)
        place = {name: number for number, name in enumerate(dataset.classes)}
        y = np.array([place[label] for label in table.labels], dtype=np.int64)
        return Samples(tuple(Row(file, number, ()) for number in range(len(y))), y, _steps)

    return Source(
        root, tuple(tables.values()), samples, tuple(split for split in SPLITS if split in tables), edited=True
    )


def _steps(row: Row, preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """The T steps [1, T, 1, channels, 1] of one series."""
    assert preparation.T is not None
    return series.steps(read(row.file).x[row.number], preparation.T, str(row))[None]


def read(path: Path) -> Table:
    """The table in a file.

    A .npz archive has the arrays x [samples, time, channels], or [samples, time] of one channel, and y [samples]: whole
    numbers or texts. A .csv file has a line for each series of one channel: its class, then its values over time, as
    the files of the UCR archive; a first line of names is left out.

    Raises:
        DataError: neither, or values that `series.checked` refuses.
    """
    try:
        state = path.stat()
    except OSError:
        return _read(path, 0, 0)  # which says why it cannot be read
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=2)
def _read(path: Path, _time: int, _size: int) -> Table:
    """`read`, once for each version of a file."""
    try:
        x, y = _csv(path) if path.suffix == ".csv" else _npz(path)
    except UnreadableError as refused:
        raise series.unusable(path, refused.expected, refused.got) from None
    x = x[:, :, None] if x.ndim == 2 else x
    if x.ndim != 3:
        raise series.unusable(path, "x [samples, time, channels]", f"{x.dtype} {x.shape}")
    if y.ndim != 1 or y.dtype.kind not in "iuU" or len(y) != len(x):
        raise series.unusable(path, f"y as {len(x):,} whole numbers or texts", f"{y.dtype} {y.shape}")
    labels = tuple(map(str, y.tolist()))
    if "" in labels:
        raise series.unusable(path, "a class for each series", f"none of sample {labels.index(''):,} (from 0)")
    return Table(series.checked(path, x), labels)


def _csv(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    labels, values = documents.labelled_numbers(path)
    return values, np.array(labels, dtype=str)


def _npz(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    found = arrays.npz(path, ["x", "y"])
    return found["x"], found["y"]
