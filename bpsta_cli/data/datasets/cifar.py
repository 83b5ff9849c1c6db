"""CIFAR-10 and CIFAR-100 as published: batches of pickles ("python version") or of bytes ("binary version").

Both hold rows of 3,072 bytes: the red, green and blue planes of an image, 32 rows of 32 pixels each
(https://www.cs.toronto.edu/~kriz/cifar.html).
"""

from __future__ import annotations

import contextlib
import importlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.datasets.cifar_tree import is_tree, tree
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import Samples, Source, SplitName, missing, refuse_web_page
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_HARMLESS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),
}
"""The only functions that the pickle of a dictionary of lists and arrays needs."""
_MOST_BYTES = 256 << 20
"""Of a file: CIFAR-100's training part has 155 MB."""
_REFETCH = "Delete the file and fetch it again."


@dataclass(frozen=True)
class _Version:
    """One published form: its folder, its files, and how many bytes of labels precede an image (0: pickles)."""

    folder: str
    files: dict[SplitName, tuple[str, ...]]
    labels: int = 0


_TEN = (
    _Version("cifar-10-batches-py", {"train": tuple(f"data_batch_{n}" for n in range(1, 6)), "test": ("test_batch",)}),
    _Version(
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test": ("test_batch.bin",)},
        labels=1,
    ),
)
_HUNDRED = (
    _Version("cifar-100-python", {"train": ("train",), "test": ("test",)}),
    _Version("cifar-100-binary", {"train": ("train.bin",), "test": ("test.bin",)}, labels=2),
)


def cifar10(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """CIFAR-10: five files of training batches and one to test, in `source` or the published folder in it.

    `source` may be a tree of PNG files as well (`cifar_tree`). Without `source` raw/ is searched for the published
    files, and the python version is downloaded to it, in torchvision's directory layout.

    Raises:
        DataError: a file is missing, or the download failed.
    """
    return _find(dataset, source, raw, _TEN, "CIFAR10")


def cifar100(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """CIFAR-100: one file to train and one to test. The labels are the 100 fine ones. See `cifar10`."""
    return _find(dataset, source, raw, _HUNDRED, "CIFAR100")


def _find(dataset: Dataset, source: Path | None, raw: Path, versions: tuple[_Version, ...], class_name: str) -> Source:
    if source is None:
        remove_partial_downloads(dataset, raw)
    found = _search(source or raw, versions)
    if found is None and source is None:
        download(dataset, raw, lambda: _fetch(class_name, raw), [raw / versions[0].folder])
        found = _search(raw, versions)
    if found is None:
        if source is not None and is_tree(source):
            return tree(dataset, source)
        published = ", ".join(f"{v.folder}/{v.files['train'][0]}" for v in versions)
        raise missing(dataset, source or raw, f"{published}, or train/CLASS/*.png and test/CLASS/*.png")
    folder, version = found
    absent = [name for names in version.files.values() for name in names if not (folder / name).is_file()]
    if absent:
        raise missing(dataset, folder, f"{', '.join(absent)} as well")
    files = {split: tuple(folder / name for name in names) for split, names in version.files.items()}

    def read(split: SplitName) -> Samples:
        labels = [_labels(file, version, len(dataset.classes)) for file in files[split]]
        return Samples(files[split], np.concatenate(labels), _read_pickled if version.labels == 0 else _read_bytes)

    return Source(folder, (*files["train"], *files["test"]), read)


def _search(root: Path, versions: tuple[_Version, ...]) -> tuple[Path, _Version] | None:
    """The first folder at or under `root` with a first batch, and its version."""
    for version in versions:
        for folder in (root / version.folder, root):
            if (folder / version.files["train"][0]).is_file():
                return folder, version
    return None


def _fetch(class_name: str, raw: Path) -> None:
    """What torchvision's class does with download=True, without unpickling what came."""
    library: Any = importlib.import_module("torchvision.datasets")
    row = getattr(library, class_name)
    library.utils.download_and_extract_archive(row.url, str(raw), filename=row.filename, md5=row.tgz_md5)


def _labels(file: Path, version: _Version, classes: int) -> npt.NDArray[np.int64]:
    labels = _unpickled(file)[1] if version.labels == 0 else _table(file)[:, version.labels - 1].astype(np.int64)
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= classes:
        got = f"{labels.min()} to {labels.max()}" if len(labels) else "none"
        raise _damaged(file, f"labels from 0 to {classes - 1}", got)
    return labels


def _read_bytes(file: Path, _preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    return _table(file)[:, -_PIXELS:].reshape(-1, *_SHAPE)


def _table(file: Path) -> npt.NDArray[np.uint8]:
    """The rows of a binary version's file."""
    with _opened(file) as opened:
        refuse_web_page(file, opened.read(64))
    row = _PIXELS + (2 if file.name in ("train.bin", "test.bin") else 1)
    size = file.stat().st_size
    if size == 0 or size % row:
        raise _damaged(file, f"a multiple of {row:,} bytes", f"{size:,}")
    return np.memmap(file, np.uint8, "r").reshape(-1, row)


def _read_pickled(file: Path, _preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    return _unpickled(file)[0]


def _unpickled(file: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Images and fine labels of a python version's file."""
    with _opened(file) as opened:
        content = opened.read()
    refuse_web_page(file, content[:64])
    try:
        loaded = _Unpickler(io.BytesIO(content), encoding="bytes").load()  # Python 2's text: as bytes it is not copied
        batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in loaded.items()}
        data = batch["data"]
        labels = _row(batch["fine_labels"] if "fine_labels" in batch else batch["labels"])
    except Exception as error:  # a damaged pickle may raise anything
        got = f"{type(error).__name__}: {error}"
        raise _damaged(file, "a whole pickle with data and labels", got) from error
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != _PIXELS:
        got = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise _damaged(file, f"data as bytes [N, {_PIXELS}]", got)
    if labels.shape != (len(data),) or labels.dtype.kind not in "ui":
        raise _damaged(file, f"{len(data):,} whole numbers as labels", f"{labels.dtype} {labels.shape}")
    return data.reshape(-1, *_SHAPE), labels.astype(np.int64)


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    try:
        with reading.opened(file, _MOST_BYTES) as opened:
            yield opened
    except UnreadableError as refused:
        raise _damaged(file, refused.expected, refused.got) from None


def _row(values: Any) -> npt.NDArray[Any]:
    """A list of numbers as an array; lists in one another could stand for more values than memory holds."""
    if not isinstance(values, np.ndarray) and not all(isinstance(value, int) for value in values):
        raise ValueError("labels that are no whole numbers")
    return np.asarray(values)


def _empty_array(kind: type, shape: tuple[int, ...], code: bytes) -> npt.NDArray[Any]:
    """What NumPy's `_reconstruct` makes of an array that is filled afterwards; a large one is not made.

    Raises:
        UnpicklingError: another type or shape than NumPy writes.
    """
    if kind is not np.ndarray or shape != (0,):
        raise pickle.UnpicklingError("an array that is no plain one")
    return np.ndarray((0,), np.int8) if code else np.ndarray((0,))


class _Unpickler(pickle.Unpickler):
    """Makes arrays and plain values, and nothing else: a pickle can call whatever it names."""

    def __init__(self, file: IO[bytes], *, encoding: str) -> None:
        super().__init__(file, encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        """The few functions that arrays are made of.

        Raises:
            UnpicklingError: any other.
        """
        if (module, name) not in _HARMLESS:
            raise pickle.UnpicklingError(f"it calls {module}.{name}, which is refused")
        return _empty_array if name == "_reconstruct" else super().find_class(module, name)


def _damaged(file: Path, expected: str, got: str) -> DataError:
    return DataError(f"{file.name} cannot be used", expected=expected, got=f"{got} in {file}", todo=_REFETCH)
