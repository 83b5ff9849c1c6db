"""CIFAR-10 and CIFAR-100 as a tree of their own pixels: train/CLASS/*.png and test/CLASS/*.png."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.data.formats.images import read_image
from bpsta_cli.data.preparation import AppliedPreparation
from bpsta_cli.data.sources import SPLITS, Samples, Source, SplitName
from bpsta_cli.errors import DataError, did_you_mean, shortened
from bpsta_cli.reading import UnreadableError

_SHAPE = (3, 32, 32)
_PNG = b"\x89PNG\r\n\x1a\n"
"""What every PNG file starts with (ISO/IEC 15948, 5.2)."""
_AS_FOLDER = "Images that were changed, or other ones, are prepared with --dataset folder."


def is_tree(root: Path) -> bool:
    """Whether `root` holds folders train/ and test/."""
    return all((root / split).is_dir() for split in SPLITS)


def tree(dataset: Dataset, root: Path) -> Source:
    """The images in train/CLASS and test/CLASS, in the order of the catalogue's classes, then of file names.

    The names of classes may differ from the catalogue's in capitals and in what stands between words ("Maple-Tree").
    Each split has every class; there may be fewer images than in the published data set.

    Raises:
        DataError: an unknown class, a missing one, one named twice, or a file that is no .png.
    """
    files = {split: _files(dataset, root / split) for split in SPLITS}

    def read(split: SplitName) -> Samples:
        y = np.array([label for _, label in files[split]], dtype=np.int64)
        return Samples(tuple(file for file, _ in files[split]), y, _read)

    row = dataclasses.replace(dataset, split=f"{dataset.split}, from a tree of PNG files")
    return Source(root, tuple(file for split in SPLITS for file, _ in files[split]), read, row=row)


def _files(dataset: Dataset, folder: Path) -> list[tuple[Path, int]]:
    """The images of one split with their labels."""
    folders = _class_folders(dataset, folder)
    files = [(file, label) for label in sorted(folders) for file in _images(folders[label])]
    absent = sorted(set(range(len(dataset.classes))) - {label for _, label in files})
    if absent:
        raise DataError(
            f"{dataset.title}'s classes are not all in {folder}",
            expected=f"a folder with .png files for each of its {len(dataset.classes)} classes",
            got=shortened(f"none for {', '.join(dataset.classes[label] for label in absent)}"),
            todo=f"Add them. {_AS_FOLDER}",
        )
    return files


def _class_folders(dataset: Dataset, folder: Path) -> dict[int, Path]:
    """The folder of each label that has one."""
    labels = {_folded(name): label for label, name in enumerate(dataset.classes)}
    folders: dict[int, Path] = {}
    for each in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
        label = labels.get(_folded(each.name))
        if label is None:
            raise DataError(
                f"{each} is none of {dataset.title}'s classes",
                expected="a folder named as a class",
                got=f"'{each.name}'",
                todo=did_you_mean(each.name, dataset.classes, otherwise=_AS_FOLDER),
            )
        if label in folders:
            raise DataError(
                f"two folders for one class of {dataset.title}",
                expected="one folder for each class",
                got=f"{folders[label].name} and {each.name} in {folder}",
                todo="Leave one out.",
            )
        folders[label] = each
    return folders


def _folded(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _images(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    for file in files:
        if file.suffix.lower() != ".png":
            raise _not_original(file, "another file")
    return files


def _read(file: Path, _preparation: AppliedPreparation) -> npt.NDArray[np.uint8]:
    """One image [1, 3, 32, 32]; one that was saved as grey has its grey in all three planes.

    Raises:
        DataError: no PNG, a damaged one, or one of another size.
    """
    try:
        with reading.opened(file, reading.IMAGE) as opened:
            head = opened.read(len(_PNG))
    except UnreadableError as refused:
        raise _not_original(file, refused.got) from None
    if head != _PNG:
        raise _not_original(file, "another format under this name" if head else "an empty file")
    image = read_image(file, channels="colour")
    if image.shape != _SHAPE:
        raise _not_original(file, f"{image.shape[1]} x {image.shape[2]} pixels")
    return image[None]


def _not_original(file: Path, got: str) -> DataError:
    return DataError(
        f"{file} holds no original pixels",
        expected="a PNG of 32 x 32 pixels: JPEG, for one, changes them",
        got=got,
        todo=_AS_FOLDER,
    )
