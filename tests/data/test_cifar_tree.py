"""CIFAR as a tree train/CLASS/*.png and test/CLASS/*.png."""

import numpy as np
import pytest
from PIL import Image

from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

TEN = catalogue.get("cifar10").classes
HUNDRED = catalogue.get("cifar100").classes


def picture(seed):
    return np.random.default_rng(seed).integers(0, 256, (3, 32, 32), dtype=np.uint8)


def save(file, pixels, **options):
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.transpose(1, 2, 0)).save(file, **options)


def write_tree(root, classes=TEN):
    """Two images of each class to train, whose order by name is not that by number, and one to test."""
    for label, name in enumerate(classes):
        for number in (9, 10):
            save(root / "train" / name / f"{number}.png", picture(20 * label + number))
        save(root / "test" / name / "0.png", picture(20 * label))
    return root


def prepared(name, source, tmp_path):
    return prepare(name, Preparation(T=2), source=source, data_dir=tmp_path / f"data-{source.name}")


def test_a_tree_gives_the_content_of_the_published_files_with_the_same_images(tmp_path):
    (tmp_path / "bin").mkdir()
    for split, numbers in (("train", (10, 9)), ("test", (0,))):
        rows = [bytes([label]) + picture(20 * label + n).tobytes() for label in range(10) for n in numbers]
        names = [f"data_batch_{n}.bin" for n in range(1, 6)] if split == "train" else ["test_batch.bin"]
        each = len(rows) // len(names)
        for at, name in enumerate(names):
            (tmp_path / "bin" / name).write_bytes(b"".join(rows[at * each : (at + 1) * each]))
    store = prepared("cifar10", write_tree(tmp_path / "tree"), tmp_path)
    assert store.content_hash == prepared("cifar10", tmp_path / "bin", tmp_path).content_hash
    assert store.manifest.partial == "20 of 50,000 training and 10 of 10,000 test samples"
    assert store.manifest.split == "official, from a tree of PNG files"


def test_cifar100_is_numbered_by_the_catalogues_classes_however_their_names_are_spelt(tmp_path):
    spelt = [
        name.replace("_", "-").title() if label % 2 else name.replace("_", " ") for label, name in enumerate(HUNDRED)
    ]
    (tmp_path / "bin").mkdir()
    for split, numbers in (("train", (10, 9)), ("test", (0,))):
        rows = [bytes([0, label]) + picture(20 * label + n).tobytes() for label in range(100) for n in numbers]
        (tmp_path / "bin" / f"{split}.bin").write_bytes(b"".join(rows))
    store = prepared("cifar100", write_tree(tmp_path / "tree", spelt), tmp_path)
    assert store.content_hash == prepared("cifar100", tmp_path / "bin", tmp_path).content_hash


def test_the_published_files_go_before_a_tree_beside_them(tmp_path):
    root = write_tree(tmp_path / "tree")
    for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        (root / name).write_bytes(bytes(3073))
    assert len(prepared("cifar10", root, tmp_path).split("train")) == 5


def test_a_png_that_was_saved_as_grey_has_its_grey_in_all_planes(tmp_path):
    root = write_tree(tmp_path / "tree")
    grey = picture(1)[0]
    Image.fromarray(grey).save(root / "test" / "airplane" / "0.png")
    np.testing.assert_array_equal(prepared("cifar10", root, tmp_path).split("test").x[0], np.stack([grey] * 3))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda root: save(root / "train/cat/1.jpg", picture(1)),
            "1.jpg holds no original pixels.*JPEG.*--dataset folder",
        ),
        (
            lambda root: save(root / "train/cat/1.png", picture(1), format="JPEG"),
            "1.png .*another format under this name",
        ),
        (lambda root: save(root / "train/cat/1.png", picture(1)[:, :30]), "1.png .*32 x 32 .* got 30 x 32 pixels"),
        (lambda root: (root / "train/cat/1.png").write_bytes(b""), "1.png .*got an empty file"),
        (lambda root: (root / "train/cat/1.png").write_bytes(b"\x89PNG\r\n\x1a\n"), "1.png: expected a whole image"),
        (lambda root: (root / "train/cat/1.png").mkdir(), "1.png holds no original pixels.*a folder"),
        (lambda root: (root / "test/horses").mkdir(), "horses is none of CIFAR-10's classes.*Did you mean horse"),
        (lambda root: (root / "test/zebra").mkdir(), "zebra is none of CIFAR-10's classes.*--dataset folder"),
        (lambda root: (root / "test/Cat").mkdir(), "two folders for one class of CIFAR-10.*got Cat and cat"),
        (lambda root: (root / "test/cat/0.png").unlink(), "CIFAR-10's classes are not all in .*test.*none for cat"),
        (lambda root: (root / "test").rename(root / "tested"), "no CIFAR-10 files .*train/CLASS/.*png and test/CLASS"),
    ],
)
def test_a_tree_that_is_not_cifars_is_refused_in_a_line(tmp_path, damage, message):
    damage(write_tree(tmp_path / "tree"))
    with pytest.raises(DataError, match=message) as caught:
        prepared("cifar10", tmp_path / "tree", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tree_of_the_other_cifar_is_refused(tmp_path):
    with pytest.raises(DataError, match="airplane is none of CIFAR-100's classes"):
        prepared("cifar100", write_tree(tmp_path / "tree"), tmp_path)
