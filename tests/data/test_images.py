import gzip
import importlib
from urllib.error import URLError

import numpy as np
import pytest
from data_files import idx_bytes, write_idx, write_mnist

from bpsta_cli.config import Preparation
from bpsta_cli.data.formats.idx import read_idx
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError


def test_an_idx_file_gives_back_its_array_plain_or_compressed(tmp_path):
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    for compress in (False, True):
        np.testing.assert_array_equal(read_idx(write_idx(tmp_path / "a", array, compress=compress), 3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            idx_bytes(np.zeros((2, 3), np.uint8))[:-1],
            "has the wrong length: expected 18 bytes for 2 x 3, got 17",
        ),
        (idx_bytes(np.zeros((2, 3), np.uint8)) + b"x", "expected 18 bytes for 2 x 3, got 19 bytes"),
        (b"\x00\x00\x08\x02\x00", "a header of 12 bytes, got 5 bytes"),
        (b"", "a header of 12 bytes, got 0 bytes"),
        (b"\x00\x00\x08\x03" + bytes(12), "magic number 0x00000802, got 0x00000803"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not data"),
    ],
)
def test_a_file_that_is_no_such_idx_is_refused_by_name(tmp_path, content, message):
    (tmp_path / "labels").write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(tmp_path / "labels", 2)
    assert str(tmp_path / "labels") in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(idx_bytes(np.zeros((2, 3), np.uint8)), mtime=0)[:-9], "a whole gzip file"),
        (b"\x1f\x8b" + bytes(30), "a whole gzip file"),
        (b"not gzip at all", "a whole gzip file"),
        (b"<html>403</html>", "is a web page, not data"),
        (gzip.compress(b"<html>403</html>", mtime=0), "is a web page, not data"),
    ],
)
def test_a_gzip_file_that_cannot_be_read_is_refused(tmp_path, content, message):
    (tmp_path / "labels.gz").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_idx(tmp_path / "labels.gz", 2)


@pytest.mark.parametrize("inner", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("compress", [False, True])
def test_mnist_is_found_in_a_folder_its_raw_or_its_mnist_raw(tmp_path, inner, compress):
    write_mnist(tmp_path / "given" / inner, compress=compress)
    store = prepare("mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.x.shape, test.x.shape) == ((12, 1, 28, 28), (5, 1, 28, 28))
    assert train.x[1, 0, 0, :3].tolist() == [31, 32, 33]
    assert (train.y.dtype, train.y[-3:].tolist()) == (np.int64, [9, 0, 1])
    assert store.manifest.partial == "12 of 60,000 training and 5 of 10,000 test samples"


def test_fashion_mnist_is_not_taken_for_mnist(tmp_path):
    write_mnist(tmp_path / "given" / "FashionMNIST" / "raw")
    with pytest.raises(DataError, match="no MNIST files in the source folder"):
        prepare("mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    assert (
        len(prepare("fashion-mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path).split("test")) == 5
    )


def spoil(folder, name, array):
    write_idx(folder / name, np.asarray(array))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("train-labels-idx1-ubyte", np.zeros(11), "12 labels, one for each image, got 11"),
        ("train-labels-idx1-ubyte", [0] * 7 + [10] + [0] * 4, "labels from 0 to 9, got 10 at label 7"),
        ("t10k-images-idx3-ubyte", np.zeros((5, 27, 28)), r"images of \(28, 28\), got \(27, 28\)"),
        ("t10k-images-idx3-ubyte", np.zeros((0, 28, 28)), "at least one image, got none"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(tmp_path, name, array, message):
    spoil(write_mnist(tmp_path / "given"), name, array)
    with pytest.raises(DataError, match=message) as caught:
        prepare("mnist", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)
    assert name in str(caught.value)
    assert not (tmp_path / "prepared" / "mnist" / "images").exists()


def test_a_missing_file_is_named(tmp_path):
    (write_mnist(tmp_path / "given") / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="expected t10k-labels-idx1-ubyte"):
        prepare("mnist", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)


def test_a_source_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataError, match="a folder that exists"):
        prepare("mnist", Preparation(T=1), source=tmp_path / "nowhere", data_dir=tmp_path)


def test_a_failed_download_says_what_to_fetch_and_where_to_put_it(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    library = importlib.import_module("torchvision.datasets")
    monkeypatch.setattr(library, "MNIST", fail)
    with pytest.raises(DataError, match="no route to host") as caught:
        prepare("mnist", Preparation(T=1), data_dir=tmp_path)
    details = "".join(caught.value.__notes__)
    assert "t10k-labels-idx1-ubyte.gz (4,542 bytes, MD5 ec29112dd5afa0611ce80d1b7f02629c)" in details
    assert str(tmp_path / "raw" / "MNIST" / "raw") in details
    assert "--source" in caught.value.todo


def test_a_copy_put_where_the_message_says_is_found(tmp_path):
    write_mnist(tmp_path / "raw" / "MNIST" / "raw", compress=True)
    assert len(prepare("mnist", Preparation(T=1), data_dir=tmp_path).split("train")) == 12


def test_what_a_download_prints_stays_out_of_the_output(tmp_path, monkeypatch, capsys):
    def fetch(root, *, download):
        print("Downloading")  # noqa: T201 - as other libraries do
        write_mnist(root / "MNIST" / "raw")

    monkeypatch.setattr(importlib.import_module("torchvision.datasets"), "MNIST", fetch)
    prepare("mnist", Preparation(T=1), data_dir=tmp_path)
    assert capsys.readouterr().out == ""


def test_digits_are_the_same_1797_images_in_the_same_split_anywhere(tmp_path):
    store = prepare("digits", Preparation(T=8), data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.x.shape, test.x.shape, train.x.dtype) == ((1437, 1, 8, 8), (360, 1, 8, 8), np.uint8)
    assert (train.x.max() * store.scale, store.manifest.partial) == (1.0, None)
    assert np.bincount(test.y).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert store.content_hash == "5bd0117805b110fbf15add175cdda770b68acf2ec4b47ffa5bd3eacdd19b57b3"


def test_digits_take_no_source(tmp_path):
    with pytest.raises(DataError, match="digits needs no source"):
        prepare("digits", Preparation(T=1), source=tmp_path, data_dir=tmp_path)
