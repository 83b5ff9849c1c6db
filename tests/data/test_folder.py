"""A folder of the user's own: its layout, classes, splits and store."""

import os

import numpy as np
import pytest
from folder_files import read, write_images, write_recordings, write_split
from PIL import Image

from bpsta_cli.config import Preparation
from bpsta_cli.data.presets import preset
from bpsta_cli.data.store import prepare, store_path
from bpsta_cli.errors import DataError


def test_images_in_train_and_test_become_a_store_of_their_own_shape_and_classes(tmp_path):
    store = read(write_split(tmp_path / "pets", mode="L"), tmp_path)
    train = store.split("train")
    assert (train.x.shape, train.x.dtype, store.split("test").x.shape) == ((6, 1, 4, 6), np.uint8, (2, 1, 4, 6))
    assert (train.y.tolist(), train.x[:, 0, 0, 0].tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 10, 11, 12])
    assert (store.classes, store.shape, store.scale, store.T) == (("cat", "dog"), (1, 4, 6), 1 / 255, None)
    assert (store.manifest.dataset, store.split_description) == ("folder", "pets: its train/ and test/ folders")


def test_a_stated_share_of_each_class_is_held_out_and_the_seed_says_which(tmp_path):
    source = write_images(tmp_path / "pets", each=10, classes=("a", "b", "c"))
    stores = [read(source, tmp_path, test_fraction=0.2, split_seed=seed) for seed in (0, 1)]
    for store in stores:
        assert store.split("test").y.tolist() == [0, 0, 1, 1, 2, 2]
        assert len(store.split("train")) == 24
    assert stores[0].content_hash != stores[1].content_hash
    assert stores[1].path.name == "images-holdout0.2-seed1"
    assert stores[1].split_description == "pets, not official: 0.2 of the training samples held out, seed 1"
    again = prepare(
        "folder", Preparation(T=2, test_fraction=0.2, split_seed=1), source=source, data_dir=tmp_path / "other"
    )
    assert again.content_hash == stores[1].content_hash


def test_a_folder_without_a_test_part_asks_for_a_share(tmp_path):
    with pytest.raises(DataError, match=r"such as --test-fraction 0\.2"):
        read(write_images(tmp_path / "pets"), tmp_path)


def test_a_share_is_refused_where_there_is_a_test_part(tmp_path):
    with pytest.raises(DataError, match="pets, which brings a test split"):
        read(write_split(tmp_path / "pets"), tmp_path, test_fraction=0.2)


def test_two_folders_of_one_name_have_two_stores(tmp_path):
    one, two = write_split(tmp_path / "one" / "pets"), write_split(tmp_path / "two" / "pets", classes=("x", "y"))
    assert read(one, tmp_path).path != read(two, tmp_path).path
    assert (read(one, tmp_path).classes, read(two, tmp_path).classes) == (("cat", "dog"), ("x", "y"))
    for source in (one, two):
        path = store_path(tmp_path / "data", "folder", Preparation(T=2), source=source)
        assert path.parent.name.startswith("pets-")
        assert path == read(source, tmp_path).path


def test_a_second_prepare_writes_nothing_and_a_changed_file_of_the_same_size_is_noticed(tmp_path):
    source = write_split(tmp_path / "pets", suffix=".bmp")
    first = read(source, tmp_path)
    inode = first.path.stat().st_ino
    assert read(source, tmp_path).path.stat().st_ino == inode
    file = source / "train" / "cat" / "0.bmp"
    size = file.stat().st_size
    Image.new("RGB", (6, 4), 200).save(file)
    os.utime(file, (1, 1))
    assert file.stat().st_size == size
    assert read(source, tmp_path).content_hash != first.content_hash


def test_class_folders_that_are_numbers_are_in_the_order_of_the_numbers(tmp_path):
    store = read(write_split(tmp_path / "n", classes=tuple(map(str, range(12)))), tmp_path)
    assert store.classes == tuple(map(str, range(12)))


def test_files_below_a_class_folder_belong_to_it_and_hidden_ones_are_left_out(tmp_path):
    source = write_split(tmp_path / "pets")
    write_images(source / "train" / "cat" / "indoors", classes=("night",), each=2)
    (source / "train" / "cat" / ".DS_Store").write_bytes(b"x")
    (source / "train" / "dog" / "Thumbs.db").write_bytes(b"x")
    (source / ".git" / "x").mkdir(parents=True)
    (source / "README.md").write_text("mine")
    assert read(source, tmp_path).split("train").y.tolist() == [0] * 5 + [1] * 3


def spoil(source, change):
    change(source)
    return source


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (s / "train" / "bird").mkdir(), "a difference in bird|bird is not laid out.*files of that class"),
        (lambda s: (s / "test" / "bird").mkdir(), r"the classes of .*train, got a difference in bird"),
        (lambda s: [f.unlink() for f in (s / "test" / "dog").iterdir()], "files of that class, got none"),
        (
            lambda s: (s / "train" / "dog" / "notes.txt").write_text("x"),
            "notes.txt is not laid out.*images, recordings",
        ),
        (lambda s: (s / "train" / "dog" / "a.wav").write_bytes(b"x"), "files of one kind in all classes"),
        (lambda s: write_images(s, classes=("val",)), "train/ and test/ alone, .*got val beside"),
    ],
)
def test_a_folder_that_is_not_laid_out_as_a_data_set_is_refused(tmp_path, change, message):
    source = spoil(write_split(tmp_path / "pets"), change)
    with pytest.raises(DataError, match=message):
        read(source, tmp_path)


def test_a_folder_of_files_alone_and_one_class_alone_are_refused(tmp_path):
    write_images(tmp_path / "pets", classes=("cat",))
    for source in (tmp_path / "pets", tmp_path / "pets" / "cat"):
        with pytest.raises(DataError, match="a sub-folder for each of two or more classes"):
            read(source, tmp_path, test_fraction=0.5)


def test_no_folder_is_answered_with_what_to_name(tmp_path):
    with pytest.raises(DataError, match="expected --source DIR, a folder that exists, got no --source"):
        prepare("folder", Preparation(T=2), data_dir=tmp_path)
    with pytest.raises(DataError, match=r"a folder that exists, got .*nowhere"):
        prepare("folder", Preparation(T=2), source=tmp_path / "nowhere", data_dir=tmp_path)


def test_the_recipe_depends_on_what_is_in_the_folder(tmp_path):
    images, events = write_split(tmp_path / "i"), write_recordings(tmp_path / "e")
    assert (preset("folder", source=str(images)).batch_size, preset("folder", source=str(events)).batch_size) == (
        64,
        16,
    )
