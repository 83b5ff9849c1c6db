"""Images: scikit-learn's digits, and MNIST and Fashion-MNIST in torchvision's directory layout."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.formats.idx import read_idx
from bpsta_cli.data.sources import Images, Source, SplitName, missing
from bpsta_cli.errors import DataError

_PREFIX: dict[SplitName, str] = {"train": "train", "test": "t10k"}
_DIGITS_TEST_FRACTION = 0.2
_DIGITS_SEED = 0


def digits(_dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """The 1,797 images that come with scikit-learn, split as the catalogue says.

    Raises:
        DataError: a source was given; the data set needs none.
    """
    if source is not None:
        raise DataError(
            "digits needs no source",
            expected="no --source",
            got=str(source),
            todo="Leave --source out: scikit-learn brings the images.",
        )
    return Source(raw, (), _read_digits)


def _read_digits(split: SplitName) -> Images:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    parts = train_test_split(
        bunch.images.astype(np.uint8)[:, None],
        bunch.target.astype(np.int64),
        test_size=_DIGITS_TEST_FRACTION,
        random_state=_DIGITS_SEED,
        stratify=bunch.target,
    )
    x_train, x_test, y_train, y_test = parts
    return Images(x_train, y_train) if split == "train" else Images(x_test, y_test)


def mnist(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """MNIST: four IDX files. See `_idx_source`."""
    return _idx_source(dataset, source, raw, "MNIST")


def fashion_mnist(dataset: Dataset, source: Path | None, raw: Path) -> Source:
    """Fashion-MNIST: four IDX files. See `_idx_source`."""
    return _idx_source(dataset, source, raw, "FashionMNIST")


def _idx_source(dataset: Dataset, source: Path | None, raw: Path, class_name: str) -> Source:
    """Four IDX files, plain or .gz, in `source`, its raw/ or its CLASS_NAME/raw/.

    Without `source` they are looked for in raw/CLASS_NAME/raw, where torchvision puts them, and
    downloaded if one is missing.

    Raises:
        DataError: a file is missing from `source`, or the download failed.
    """
    if source is not None:
        candidates = (source, source / "raw", source / class_name / "raw")
        folder = next((each for each in candidates if _present(dataset, each)), None)
        if folder is None:
            raise missing(dataset, source, f"{', '.join(_stems(dataset))} (or .gz)")
    else:
        folder = raw / class_name / "raw"
        remove_partial_downloads(dataset, folder)
        if len(_present(dataset, folder)) < len(dataset.checksums):
            unpacked = [folder / stem for stem in _stems(dataset)]
            download(dataset, folder, lambda: _fetch(class_name, raw), unpacked)
    files = _present(dataset, folder)
    absent = [stem for stem in _stems(dataset) if stem not in files]
    if absent:
        raise missing(dataset, folder, f"{', '.join(absent)} (or .gz) as well")
    return Source(folder, tuple(files.values()), lambda split: _read_pair(dataset, files, _PREFIX[split]))


def _stems(dataset: Dataset) -> tuple[str, ...]:
    return tuple(name.removesuffix(".gz") for name in dataset.checksums)


def _present(dataset: Dataset, folder: Path) -> dict[str, Path]:
    """The IDX files in `folder`, by name without .gz; a plain file goes before its .gz."""
    choices = ((stem, folder / f"{stem}{suffix}") for stem in _stems(dataset) for suffix in (".gz", ""))
    return {stem: path for stem, path in choices if path.is_file()}


def _fetch(class_name: str, raw: Path) -> None:
    library: Any = importlib.import_module("torchvision.datasets")
    getattr(library, class_name)(raw, download=True)


def _read_pair(dataset: Dataset, files: dict[str, Path], prefix: str) -> Images:
    """Images and labels of one split, checked against each other and the catalogue."""
    image_file, label_file = files[f"{prefix}-images-idx3-ubyte"], files[f"{prefix}-labels-idx1-ubyte"]
    images, labels = read_idx(image_file, axes=3), read_idx(label_file, axes=1)
    if images.shape[1:] != dataset.shape[1:]:
        raise _unfit(image_file, f"images of {dataset.shape[1:]}", f"{images.shape[1:]}")
    if len(images) == 0:
        raise _unfit(image_file, "at least one image", "none")
    if len(images) != len(labels):
        raise _unfit(label_file, f"{len(images):,} labels, one for each image", f"{len(labels):,}")
    _check_labels(labels, dataset, label_file)
    return Images(images[:, None], labels.astype(np.int64))


def _check_labels(labels: npt.NDArray[np.uint8], dataset: Dataset, file: Path) -> None:
    if labels.max() >= len(dataset.classes):
        at = int(np.argmax(labels >= len(dataset.classes)))
        raise _unfit(file, f"labels from 0 to {len(dataset.classes) - 1}", f"{labels[at]} at label {at:,}")


def _unfit(file: Path, expected: str, got: str) -> DataError:
    return DataError(
        f"{file.name} does not fit", expected=expected, got=f"{got} in {file}", todo="Fetch the files again."
    )
