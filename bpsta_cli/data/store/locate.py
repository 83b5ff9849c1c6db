"""Where the stores of a data set are: the folder of one, and those that are on the disk."""

from __future__ import annotations

import re
from hashlib import sha256
from pathlib import Path

from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.preparation import applied
from bpsta_cli.data.store import manifest
from bpsta_cli.data.store.store import Store, whole_store


def store_path(data_dir: str | Path, name: str, preparation: Preparation, *, source: str | Path | None = None) -> Path:
    """Where `prepare` with these arguments puts the store: prepared/digits/images, prepared/n-mnist/T8-number.

    Raises:
        DataError: this data set cannot be prepared so.
    """
    source = None if source is None else Path(source)
    dataset = catalogue.described(name, source)
    return applied(preparation, dataset).path(Path(data_dir), folder_name(dataset, source))


def folder_name(dataset: Dataset, source: Path | None) -> str:
    """The data set's folder in prepared/; each folder of the user's own has one for itself."""
    return f"{dataset.name}/{_unique_name(source)}" if dataset.user_supplied and source else dataset.name


def _unique_name(source: Path) -> str:
    """A name for a folder that no other folder shares: its own and eight digits of its whole path's hash."""
    whole = source.resolve()
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", whole.name).strip(".") or "root"
    return f"{plain}-{sha256(str(whole).encode()).hexdigest()[:8]}"


def stores_of(data_dir: str | Path, name: str) -> list[Store]:
    """The whole stores of data set `name`; hidden folders are half-built ones."""
    folder = Path(data_dir) / "prepared" / name
    files = [*folder.glob(f"[!.]*/{manifest.FILE}"), *folder.glob(f"[!.]*/[!.]*/{manifest.FILE}")]
    return [store for file in sorted(files) if (store := whole_store(file.parent))]


def store_with(data_dir: str | Path, name: str, content_hash: str) -> Store | None:
    """The store of data set `name` with this content, whatever it was made from; None if there is none."""
    return next((store for store in stores_of(data_dir, name) if store.content_hash == content_hash), None)
