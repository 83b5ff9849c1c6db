"""The manifest of a prepared store: what it holds, how it was made, and the hash that names its content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bpsta_cli import files
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError, documents

FILE = "manifest.json"
FORMAT: Literal[1] = 1
_CHUNK_BYTES = 1 << 24


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ArrayRecord(_Frozen):
    """One .npy file: its array, the file's length in bytes, and the SHA-256 of the array's bytes."""

    dtype: str
    shape: tuple[int, ...]
    bytes: int
    sha256: str


class Manifest(_Frozen):
    """What manifest.json says.

    Attributes:
        format: version of the store's layout.
        dataset: name in the catalogue.
        preparation: how it was made; the file calls it settings.
        shape: (C, H, W) of one time step.
        classes: the labels' names.
        scale: multiplies the stored integers to give the network's input.
        split: which split it is, in words.
        partial: what is missing from the whole data set, in words; None if nothing.
        arrays: train_x, train_y, test_x and test_y; validation_x and _y where the data set has such a part;
            train_rows where samples are repeated.
        source: fingerprint of the files it was made from (`Source.fingerprint`).
        versions: libraries that made it.
        content_hash: SHA-256 over what a network sees: neither versions, source nor words.
    """

    format: Literal[1]
    dataset: str
    preparation: AppliedPreparation = Field(alias="settings")
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    scale: float
    split: str
    partial: str | None
    arrays: dict[str, ArrayRecord]
    source: str
    versions: dict[str, str]
    content_hash: str

    def wanted(self, dataset: Dataset, preparation: AppliedPreparation) -> bool:
        """Whether this is what `dataset` prepared so would be today."""
        same = (self.dataset, self.preparation, self.scale) == (dataset.name, preparation, dataset.scale)
        return same and self.classes in (dataset.classes, dataset.older_classes)


def hash_content(manifest: dict[str, Any]) -> str:
    """SHA-256 over how the store was made and its arrays, the same on any machine."""
    seen = {key: manifest[key] for key in ("format", "dataset", "settings", "shape", "classes", "scale")}
    arrays = {
        name: [record["dtype"], list(record["shape"]), record["sha256"]] for name, record in manifest["arrays"].items()
    }
    canonical = json.dumps({**seen, "arrays": arrays}, sort_keys=True, separators=(",", ":"))
    return sha256(canonical.encode()).hexdigest()


def write(path: Path, manifest: Manifest) -> None:
    """Write the manifest of the store at `path`, with a checksum over all of it."""
    files.write_checked_json(path / FILE, manifest.model_dump(mode="json", by_alias=True))


def read(path: Path) -> tuple[Manifest, bool]:
    """The manifest of the store at `path`, and whether it has a checksum; those of older versions have none.

    Raises:
        DataError: there is none, it is damaged, or it was changed by hand.
    """
    file = path / FILE
    if not file.is_file():
        raise DataError(
            f"no prepared store at {path}",
            expected=f"a folder with {FILE}",
            got="no such folder" if not path.exists() else f"no {FILE} in it",
            todo="Run `bpsta prepare` for this data set and T, or check the path.",
        )
    try:
        content, checked = documents.checked_object(file)
        manifest = Manifest.model_validate(content)
    except UnreadableError as broken:
        raise damaged(file, f"a manifest of format 1, {broken.expected}", broken.got) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise damaged(file, "a manifest of format 1", f"{where}: {first['msg']}") from error
    if manifest.content_hash != hash_content(manifest.model_dump(mode="json", by_alias=True)):
        raise damaged(file, "settings and arrays that give its content hash", "others: it was changed by hand")
    return manifest, checked


def damaged(file: Path, expected: str, got: str) -> DataError:
    """The error for a store whose files are not as they were written."""
    todo = f"Delete the folder {file.parent} and prepare the data set again."
    return DataError(f"damaged store file {file}", expected=expected, got=got, todo=todo)


def checksum(array: npt.NDArray[Any]) -> str:
    """SHA-256 of an array's bytes in C order, read piece by piece."""
    digest = sha256()
    for rows in chunks(array.shape, array.dtype):
        digest.update(np.ascontiguousarray(array[rows]).data)
    return digest.hexdigest()


def chunks(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[slice]:
    """Slices over the first axis, each of about 16 MiB."""
    row_bytes = dtype.itemsize * int(np.prod(shape[1:], dtype=np.int64))
    rows = max(1, _CHUNK_BYTES // max(1, row_bytes))
    for start in range(0, shape[0], rows):
        yield slice(start, min(start + rows, shape[0]))
