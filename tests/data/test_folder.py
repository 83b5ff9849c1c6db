import os
import wave

import numpy as np
import pytest
from aedat_files import HEADER_3, aedat2_bytes, packet
from data_files import n_mnist_bytes, write_gesture_npz
from PIL import Image

from bpsta_cli.cli.presets import preset
from bpsta_cli.data.preparation import Preparation
from bpsta_cli.data.store import open_store, prepare, store_path
from bpsta_cli.errors import DataError


def write_images(root, classes=("cat", "dog"), each=3, *, size=(6, 4), mode="RGB", suffix=".png"):
    """`size` is (columns, rows)."""
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            image = Image.new(mode, size, 10 * label + index)
            image.save(root / name / f"{index}{suffix}")
    return root


def write_split(root, **kwargs):
    write_images(root / "train", **kwargs)
    write_images(root / "test", each=1, **kwargs)
    return root


def read(source, tmp_path, **preparation):
    return prepare("folder", Preparation(T=2, **preparation), source=source, data_dir=tmp_path / "data")


def test_images_in_train_and_test_become_a_store_of_their_own_shape_and_classes(tmp_path):
    store = read(write_split(tmp_path / "pets", mode="L"), tmp_path)
    train = store.split("train")
    assert (train.x.shape, train.x.dtype, store.split("test").x.shape) == ((6, 1, 4, 6), np.uint8, (2, 1, 4, 6))
    assert (train.y.tolist(), train.x[:, 0, 0, 0].tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 10, 11, 12])
    assert (store.classes, store.shape, store.scale, store.T) == (("cat", "dog"), (1, 4, 6), 1 / 255, None)
    assert (store.manifest.dataset, store.split_description) == ("folder", "pets: its train/ and test/ folders")


def test_colours_keep_their_order_and_rows_are_rows(tmp_path):
    write_split(tmp_path / "pets")
    image = Image.new("RGB", (6, 4))
    image.putpixel((5, 2), (1, 2, 3))
    image.save(tmp_path / "pets" / "test" / "dog" / "0.png")
    x = read(tmp_path / "pets", tmp_path).split("test").x[1]
    assert (x[:, 2, 5].tolist(), x.sum()) == ([1, 2, 3], 6)


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


def test_images_of_different_sizes_are_refused_and_size_brings_them_together(tmp_path):
    source = write_split(tmp_path / "pets")
    Image.new("RGB", (5, 4)).save(source / "train" / "dog" / "2.png")
    with pytest.raises(
        DataError, match=r"colour, 4 x 6 pixels, as 0\.png, got colour, 4 x 5 .*Give --size N"
    ) as caught:
        read(source, tmp_path)
    assert str(source / "train" / "dog" / "2.png") in str(caught.value)
    store = read(source, tmp_path, size=8)
    assert (store.shape, store.path.name) == ((3, 8, 8), "images-8")


def test_a_smaller_image_is_the_mean_of_its_cells_or_their_nearest_pixel(tmp_path):
    source = write_split(tmp_path / "pets", mode="L", size=(4, 4))
    cells = np.zeros((4, 4), np.uint8)
    cells[:2, :2] = [[10, 20], [30, 40]]
    Image.fromarray(cells).save(source / "test" / "cat" / "0.png")
    assert read(source, tmp_path, size=2).split("test").x[0, 0].tolist() == [[25, 0], [0, 0]]
    nearest = read(source, tmp_path, size=2, resize="nearest")
    assert (nearest.split("test").x[0, 0, 0, 0] in (10, 20, 30, 40), nearest.path.name) == (True, "images-2nearest")


def test_grey_and_colour_together_are_refused(tmp_path):
    source = write_split(tmp_path / "pets")
    Image.new("L", (6, 4)).save(source / "test" / "dog" / "0.png")
    with pytest.raises(
        DataError, match=r"images of different modes: expected colour.*Convert all to grey or all to col"
    ):
        read(source, tmp_path)


def animation(file):
    Image.new("L", (6, 4)).save(file, save_all=True, append_images=[Image.new("L", (6, 4), 9)])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:48]), "a whole image, got"),
        (lambda file: file.write_bytes(b""), "a whole image, got cannot identify"),
        (lambda file: file.write_bytes(b"<html>404</html>"), "a whole image, got cannot identify"),
        (
            lambda file: Image.new("I;16", (6, 4)).save(file),
            "8 bits a channel, grey or in colour, got Pillow's mode I;16",
        ),
        (lambda file: Image.new("RGBA", (6, 4), (1, 2, 3, 4)).save(file), "an opaque image"),
        (animation, "one image, got 2"),
    ],
)
def test_an_image_that_cannot_be_used_is_refused_by_name(tmp_path, write, message):
    source = write_split(tmp_path / "pets", suffix=".gif" if write is animation else ".png")
    file = next((source / "train" / "dog").iterdir())
    write(file)
    with pytest.raises(DataError, match=message) as caught:
        read(source, tmp_path)
    assert str(file) in str(caught.value)


def test_an_opaque_image_with_an_alpha_channel_and_one_with_a_palette_are_colour(tmp_path):
    source = write_split(tmp_path / "pets")
    Image.new("RGBA", (6, 4), (1, 2, 3, 255)).save(source / "test" / "cat" / "0.png")
    Image.new("RGB", (6, 4), (4, 5, 6)).convert("P").save(source / "test" / "dog" / "0.png")
    x = read(source, tmp_path).split("test").x
    assert x[0, :, 0, 0].tolist() == [1, 2, 3]
    assert x.shape[1] == 3


def test_a_photo_is_turned_as_its_camera_was_held(tmp_path):
    source = write_split(tmp_path / "pets", suffix=".jpg", size=(4, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (6, 4)).save(source / "test" / "cat" / "0.jpg", exif=exif)
    assert read(source, tmp_path).shape == (3, 6, 4)


def test_a_png_that_is_named_jpg_is_read_all_the_same(tmp_path):
    source = write_split(tmp_path / "pets", mode="L")
    for file in list(source.rglob("*.png")):
        file.rename(file.with_suffix(".jpg"))
    assert read(source, tmp_path).split("train").x[:, 0, 0, 0].tolist() == [0, 1, 2, 10, 11, 12]


EVENTS = [(i % 9, i % 5, i % 2, 10 * i) for i in range(30)]  # x, y, p, t: nine columns, five rows


def write_npy(file, rows):
    np.save(file, np.array(rows))


def write_structured(file, rows):
    fields = [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("p", "?")]
    np.save(file, np.array([(t, x, y, p) for x, y, p, t in rows], dtype=fields))


WRITERS = {
    "npz": ("a.npz", write_gesture_npz),
    "table": ("a.npy", write_npy),
    "structured": ("a.npy", write_structured),
    "bin": ("a.bin", lambda file, rows: file.write_bytes(n_mnist_bytes(rows))),
    "aedat3": (
        "a.aedat",
        lambda file, rows: file.write_bytes(HEADER_3 + packet([(t, x, y, p) for x, y, p, t in rows])),
    ),
    "aedat2": (
        "a.aedat",
        lambda file, rows: file.write_bytes(aedat2_bytes([(t, 127 - x, 127 - y, 1 - p) for x, y, p, t in rows])),
    ),
}


def write_recordings(root, form="npz", rows=EVENTS):
    name, write = WRITERS[form]
    for split in ("train", "test"):
        for label in ("left", "right"):
            (root / split / label).mkdir(parents=True)
            write(root / split / label / name, rows)
    return root


def test_recordings_of_every_format_give_the_same_frames(tmp_path):
    hashes = set()
    for form in WRITERS:
        store = read(write_recordings(tmp_path / form), tmp_path / form)
        assert (store.shape, store.T, store.scale) == ((2, 5, 9), 2, 1.0)
        assert store.split("test").x.sum(axis=(2, 3, 4)).tolist() == [[15, 15]] * 2
        hashes.add(store.content_hash)
    assert len(hashes) == 1


def test_frames_are_as_large_as_the_events_of_all_recordings_take(tmp_path):
    source = write_recordings(tmp_path / "g")
    write_gesture_npz(source / "test" / "right" / "b.npz", [*EVENTS, (19, 11, 1, 400)])
    store = read(source, tmp_path)
    assert store.shape == (2, 12, 20)
    assert read(source, tmp_path, size=4).shape == (2, 4, 4)
    with pytest.raises(DataError, match="one of 1, 2, 4, got 3"):
        read(source, tmp_path, size=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 1, 1, 5), (1, 1, 1, 4)], "time stamps in order"),
        ([(1, 1, 1, -5), (1, 1, 1, 4)], "time stamps of 0 or more"),
        ([(5000, 1, 1, 4)], "x from 0 to 2047, got x from 5000"),
        ([(-1, 1, 1, 4)], "x from 0 to 2047, got x from -1"),
        ([(1, 1, 2, 4)], "p from 0 to 1"),
        ([(1, 1, 1, 4)], "at least T = 2 events, got 1"),
        (np.zeros((0, 4), int), "an empty recording"),
        (np.zeros((3, 4)), "t as a row of whole numbers|x as a row of whole numbers"),
        (np.zeros((3, 5), int), r"fields t, x, y and p, or a table \[N, 4\]"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_by_name(tmp_path, rows, message):
    source = write_recordings(tmp_path / "g", "table")
    file = source / "test" / "left" / "a.npy"
    np.save(file, np.array(rows))
    with pytest.raises(DataError, match=message) as caught:
        read(source, tmp_path)
    assert str(file) in str(caught.value)
    with pytest.raises(DataError):
        open_store(store_path(tmp_path / "data", "folder", Preparation(T=2), source=source))


def write_sounds(root, seconds=(0.3, 0.5)):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("no", "yes"):
            (root / split / label).mkdir(parents=True)
            for index, length in enumerate(seconds):
                with wave.open(str(root / split / label / f"{index}.wav"), "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(8000)
                    file.writeframes(rng.integers(-9000, 9000, int(8000 * length)).astype("<i2").tobytes())
    return root


def test_sounds_become_log_mel_features_along_the_whole_of_each(tmp_path):
    source = write_sounds(tmp_path / "words")
    store = read(source, tmp_path)
    assert store.split("train").x.shape == (4, 2, 1, 32, 16)
    assert (store.T, store.path.name, store.split("train").x.dtype) == (2, "T2", np.uint8)
    assert store.split("test").x[:, -1, 0, :, -4:].mean(axis=(1, 2)).min() > 50, (
        "the end of a short sound is no silence"
    )


def test_a_sound_too_short_for_its_steps_is_named(tmp_path):
    source = write_sounds(tmp_path / "words", seconds=(0.3, 0.003))
    with pytest.raises(DataError, match=r"1\.wav: expected T from 1 to 1"):
        read(source, tmp_path)


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
