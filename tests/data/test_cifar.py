import importlib
import os
import pickle
import struct

import numpy as np
import pytest

from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

TEN = [*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]


def python2_text(text: bytes) -> bytes:
    return b"U" + bytes([len(text)]) + text


def python2_pickle(images, labels, key=b"labels") -> bytes:
    """What Python 2's cPickle writes, protocol 2: {"data": uint8 array [N, 3072], "labels": [int, ...]}."""
    raw = images.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + python2_text(b"b") + b"\x87R"
        b"(K\x01" + b"M" + struct.pack("<H", len(images)) + b"M" + struct.pack("<H", 3072) + b"\x86"
        b"cnumpy\ndtype\n" + python2_text(b"u1") + b"K\x00K\x01\x87R(K\x03" + python2_text(b"|") + b"NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<i", len(raw)) + raw + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + python2_text(b"data") + array + python2_text(key) + numbers + b"u."


def pictures(count, start=0):
    return (np.arange(count * 3072).reshape(count, 3072) * 7 + start).astype(np.uint8)


def write_ten(folder):
    """CIFAR-10's python version: three images a training batch, two to test."""
    folder.mkdir(parents=True)
    for number, name in enumerate(TEN):
        count = 2 if name == "test_batch" else 3
        labels = [(number + i) % 10 for i in range(count)]
        (folder / name).write_bytes(python2_pickle(pictures(count, number), labels))
    return folder


def write_ten_binary(folder):
    folder.mkdir(parents=True)
    for number, name in enumerate(TEN):
        count = 2 if name == "test_batch" else 3
        rows = (bytes([(number + i) % 10]) + image.tobytes() for i, image in enumerate(pictures(count, number)))
        (folder / f"{name}.bin").write_bytes(b"".join(rows))
    return folder


@pytest.mark.parametrize("inner", [".", "cifar-10-batches-py"])
def test_cifar10_is_read_from_the_published_pickles(tmp_path, inner):
    write_ten(tmp_path / "given" / inner)
    store = prepare("cifar10", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((15, 3, 32, 32), (2, 3, 32, 32), np.uint8)
    assert train.y.tolist() == [0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5, 4, 5, 6]
    np.testing.assert_array_equal(train.x[3:6].reshape(3, 3072), pictures(3, 1))
    assert store.manifest.partial == "15 of 50,000 training and 2 of 10,000 test samples"


def test_red_green_and_blue_are_planes_of_rows(tmp_path):
    folder = write_ten_binary(tmp_path / "given")
    image = np.zeros(3072, np.uint8)
    image[[1024, 2048 + 32]] = 5, 9  # the first pixel of the green plane, the second row's first of the blue one
    (folder / "test_batch.bin").write_bytes(b"\x03" + image.tobytes())
    x = prepare("cifar10", Preparation(T=1), source=folder, data_dir=tmp_path).split("test").x
    assert (x[0, 1, 0, 0], x[0, 2, 1, 0], x.sum()) == (5, 9, 14)


def test_the_binary_version_holds_the_same_as_the_python_version(tmp_path):
    write_ten(tmp_path / "py")
    write_ten_binary(tmp_path / "bin" / "cifar-10-batches-bin")
    hashes = [
        prepare("cifar10", Preparation(T=1), source=tmp_path / x, data_dir=tmp_path / f"d{x}").content_hash
        for x in ("py", "bin")
    ]
    assert hashes[0] == hashes[1]


def test_cifar100_has_its_hundred_fine_labels_in_both_versions(tmp_path):
    (tmp_path / "py" / "cifar-100-python").mkdir(parents=True)
    (tmp_path / "bin" / "cifar-100-binary").mkdir(parents=True)
    for name, count in (("train", 4), ("test", 2)):
        labels = [99 - i for i in range(count)]
        content = python2_pickle(pictures(count), labels, b"fine_labels")
        (tmp_path / "py" / "cifar-100-python" / name).write_bytes(content)
        rows = b"".join(bytes((7, label)) + row.tobytes() for label, row in zip(labels, pictures(count), strict=True))
        (tmp_path / "bin" / "cifar-100-binary" / f"{name}.bin").write_bytes(rows)
    stores = [
        prepare("cifar100", Preparation(T=1), source=tmp_path / x, data_dir=tmp_path / f"d{x}") for x in ("py", "bin")
    ]
    assert stores[0].content_hash == stores[1].content_hash
    assert stores[1].split("train").y.tolist() == [99, 98, 97, 96]
    assert (stores[0].classes[99], stores[0].classes[0], len(stores[0].classes)) == ("worm", "apple", 100)


def test_cifar10_and_cifar100_are_not_taken_for_each_other(tmp_path):
    write_ten(tmp_path / "given" / "cifar-10-batches-py")
    with pytest.raises(DataError, match="no CIFAR-100 files in the source folder"):
        prepare("cifar100", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)


class Bomb:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.mkdir, (str(self.file),)


def test_a_pickle_that_calls_anything_is_refused_and_calls_nothing(tmp_path):
    folder = write_ten(tmp_path / "given")
    (folder / "data_batch_2").write_bytes(pickle.dumps({"data": Bomb(tmp_path / "bang"), "labels": []}, protocol=2))
    with pytest.raises(DataError, match=r"it calls posix\.mkdir, which is refused") as caught:
        prepare("cifar10", Preparation(T=1), source=folder, data_dir=tmp_path)
    assert str(folder / "data_batch_2") in str(caught.value)
    assert not (tmp_path / "bang").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (python2_pickle(pictures(3), [0, 1, 2])[:-700], "a whole pickle with data and labels, got Un"),
        (b"", "a whole pickle with data and labels, got EOFError"),
        (b"<!DOCTYPE html>", "is a web page, not data"),
        (pickle.dumps([1]), "a whole pickle with data and labels, got AttributeError"),
        (
            python2_pickle(pictures(3), [0, 1, 2], b"coarse"),
            "a whole pickle with data and labels, got KeyError: 'labels'",
        ),
        (python2_pickle(pictures(3), [0, 1]), "3 whole numbers as labels"),
        (python2_pickle(pictures(3), [0, 1, 10]), "labels from 0 to 9, got 0 to 10"),
        (
            pickle.dumps({"data": pictures(2)[:, :9], "labels": [0, 0]}),
            r"data as bytes \[N, 3072\], got uint8 \(2, 9\)",
        ),
    ],
)
def test_a_batch_that_cannot_be_used_is_refused_by_name(tmp_path, content, message):
    folder = write_ten(tmp_path / "given")
    (folder / "data_batch_4").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        prepare("cifar10", Preparation(T=1), source=folder, data_dir=tmp_path)
    assert "data_batch_4" in str(caught.value)
    assert not (tmp_path / "prepared" / "cifar10" / "images").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(bytes(3072), "a multiple of 3,073 bytes, got 3,072"), (b"", "got 0"), (b"<html>", "is a web page")],
)
def test_a_binary_batch_that_cannot_be_used_is_refused(tmp_path, content, message):
    folder = write_ten_binary(tmp_path / "given")
    (folder / "test_batch.bin").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare("cifar10", Preparation(T=1), source=folder, data_dir=tmp_path)


def test_a_missing_batch_is_named(tmp_path):
    (write_ten(tmp_path / "given") / "data_batch_5").unlink()
    with pytest.raises(DataError, match="expected data_batch_5 as well"):
        prepare("cifar10", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)


def test_an_archive_beside_nothing_is_answered_with_how_to_unpack_it(tmp_path):
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "cifar-10-python.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"Unpack cifar-10-python\.tar\.gz there"):
        prepare("cifar10", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)


@pytest.mark.parametrize(("name", "library_class"), [("cifar10", "CIFAR10"), ("cifar100", "CIFAR100")])
def test_checksums_are_those_that_torchvision_publishes(name, library_class):
    theirs = getattr(importlib.import_module("torchvision.datasets"), library_class)
    assert catalogue.get(name).checksums == {theirs.filename: theirs.tgz_md5}
