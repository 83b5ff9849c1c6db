"""Images in a folder of the user's own: sizes, modes, resizing, and files that cannot be used."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from folder_files import read, write_split
from PIL import Image

from bpsta_cli.config import Preparation
from bpsta_cli.data.formats.images import read_image
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError


def test_colours_keep_their_order_and_rows_are_rows(tmp_path):
    write_split(tmp_path / "pets")
    image = Image.new("RGB", (6, 4))
    image.putpixel((5, 2), (1, 2, 3))
    image.save(tmp_path / "pets" / "test" / "dog" / "0.png")
    x = read(tmp_path / "pets", tmp_path).split("test").x[1]
    assert (x[:, 2, 5].tolist(), x.sum()) == ([1, 2, 3], 6)


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


def test_a_smaller_image_is_the_mean_of_its_windows_or_their_nearest_pixel(tmp_path):
    source = write_split(tmp_path / "pets", mode="L", size=(4, 4))
    pixels = np.zeros((4, 4), np.uint8)
    pixels[:2, :2] = [[10, 20], [30, 40]]
    Image.fromarray(pixels).save(source / "test" / "cat" / "0.png")
    assert read(source, tmp_path, size=2).split("test").x[0, 0].tolist() == [[25, 0], [0, 0]]
    nearest = read(source, tmp_path, size=2, resize="nearest")
    assert (nearest.split("test").x[0, 0, 0, 0] in (10, 20, 30, 40), nearest.path.name) == (True, "images-2nearest")


def test_grey_and_colour_together_are_refused(tmp_path):
    source = write_split(tmp_path / "pets")
    Image.new("L", (6, 4)).save(source / "test" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"images of different modes: expected colour.*Give --channels grey, or col"):
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


def test_a_jpeg_is_read_alike_with_and_without_the_decoders_vector_instructions(tmp_path):
    x = np.random.RandomState(0).randint(0, 256, (5, 7, 3)).repeat(9, axis=0).repeat(11, axis=1).astype(np.uint8)
    for quality, subsampling in ((60, "4:2:0"), (90, "4:4:4")):
        Image.fromarray(x).save(tmp_path / f"{quality}.jpg", quality=quality, subsampling=subsampling)
    files = [str(tmp_path / "60.jpg"), str(tmp_path / "90.jpg")]
    script = (
        "import sys, pathlib; from bpsta_cli.data.formats.images import read_image\n"
        "for file in sys.argv[1:]: sys.stdout.buffer.write(read_image(pathlib.Path(file), 20).tobytes())"
    )
    plain = {**os.environ, "JSIMD_FORCENONE": "1", "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA"}
    done = subprocess.run([sys.executable, "-c", script, *files], env=plain, capture_output=True, check=True)
    assert done.stdout == b"".join(read_image(Path(file), 20).tobytes() for file in files)


def test_grey_files_among_colour_ones_are_brought_to_one_on_request(tmp_path):
    source = write_split(tmp_path / "mine", size=(4, 4))
    Image.new("L", (4, 4), 100).save(source / "train" / "cat" / "0.png")
    colour = prepare("folder", Preparation(channels="colour"), source=source, data_dir=tmp_path / "data")
    grey = prepare("folder", Preparation(channels="grey"), source=source, data_dir=tmp_path / "data")
    assert (colour.shape, grey.shape) == ((3, 4, 4), (1, 4, 4))
    assert colour.split("train").x[0].tolist() == [[[100] * 4] * 4] * 3
    assert grey.split("train").x[0].tolist() == [[[100] * 4] * 4]
    assert (colour.path.name, grey.path.name) == ("images-colour", "images-grey")


def test_channels_are_for_images_of_ones_own(tmp_path):
    with pytest.raises(DataError, match="mnist cannot be brought to grey"):
        prepare("mnist", Preparation(channels="grey"), data_dir=tmp_path)


def test_settings_that_leave_channels_as_they_are_are_recorded_without_them():
    assert "channels" not in Preparation().model_dump()
    assert Preparation(channels="grey").model_dump()["channels"] == "grey"


def test_runs_that_differ_in_channels_alone_are_told_apart_by_them(settings):
    as_they_are, grey = settings(), settings(data={"channels": "grey"})
    assert as_they_are.flat().keys() == grey.flat().keys()
    assert (as_they_are.flat()["data.channels"], grey.flat()["data.channels"]) == ("as-is", "grey")
