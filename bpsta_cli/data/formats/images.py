"""Reads one image file, of any format that Pillow knows."""

from __future__ import annotations

import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from bpsta_cli import reading
from bpsta_cli.errors import DataError
from bpsta_cli.reading import UnreadableError

if TYPE_CHECKING:
    from PIL import Image

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3}
"""Channels that an image of each of Pillow's modes of 8 bits becomes: grey or red, green and blue."""
_OPAQUE = 255
_LEFT_OUT = {"EPS", "WMF", "FPX", "MIC", "MPEG", "GRIB", "HDF5", "BUFR"}
"""Formats of Pillow that run another program, or have no reader of their own."""
_MOST_PIXELS = 1 << 26
"""Of an image: 8192 x 8192, 256 MiB where it is decoded with four channels."""


@lru_cache(maxsize=1)
def formats() -> dict[str, str]:
    """The endings of the files that Pillow reads, as ".jpg", and the format that goes by each."""
    from PIL import Image

    Image.init()
    readable = Image.OPEN.keys() - _LEFT_OUT
    return {suffix: form for suffix, form in Image.registered_extensions().items() if form in readable}


def read_image(
    path: Path, size: int | None = None, resize: str | None = None, channels: str | None = None
) -> npt.NDArray[np.uint8]:
    """An image as [C, H, W], C = 1 (grey) or 3 (red, green, blue), turned as its camera was held.

    Args:
        path: the file.
        size: rows and columns to bring it to, whatever its proportions; None leaves it as it is.
        resize: "nearest" keeps one pixel of each window of pixels, anything else takes their mean.
        channels: "grey" (the luma of ITU-R 601, as Pillow computes it), "colour" (grey in all three), None: the file's.

    Raises:
        DataError: no image, a damaged one, several in one file, not 8 bits per channel, or transparent parts.
    """
    from PIL import Image, ImageOps

    try:
        with reading.opened(path, reading.IMAGE) as file, _opened(path, file) as image:
            _check(image, path)
            whole: Image.Image = ImageOps.exif_transpose(image)
            whole = whole.convert("L" if _CHANNELS[image.mode] == 1 else "RGB")
            if channels is not None:
                whole = whole.convert("L" if channels == "grey" else "RGB")
            if size is not None:
                how = Image.Resampling.NEAREST if resize == "nearest" else Image.Resampling.BOX
                whole = whole.resize((size, size), how)
            pixels = np.asarray(whole)
    except UnreadableError as refused:
        raise _unreadable(path, refused.expected, refused.got, "Save it again, or leave it out.") from None
    except (DataError, MemoryError):
        raise
    except Exception as error:  # Pillow's readers raise whatever a damaged file leads them to
        got = " ".join(str(error).split()) or type(error).__name__
        raise _unreadable(path, "a whole image", got, "Save it again, or leave it out.") from error
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))


def _opened(path: Path, file: BinaryIO) -> Image.Image:
    """The image, taken for what its name says first: to try every format takes longer than to decode a small one."""
    from PIL import Image, UnidentifiedImageError

    every = sorted(set(formats().values()))
    likely = formats().get(path.suffix.lower())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `_check` has a limit of its own
        try:
            return Image.open(file, formats=[likely] if likely else every)
        except UnidentifiedImageError:
            file.seek(0)
            return Image.open(file, formats=every)


def _check(image: Image.Image, path: Path) -> None:
    if image.width * image.height > _MOST_PIXELS:
        todo = "Save it smaller."
        raise _unreadable(path, f"at most {_MOST_PIXELS:,} pixels", f"{image.width} x {image.height}", todo)
    if getattr(image, "is_animated", False):
        frames = f"{getattr(image, 'n_frames', 'several')}"
        raise _unreadable(path, "one image", frames, "Save one of them by itself.")
    if image.mode not in _CHANNELS:
        todo = "Save it with 8 bits a channel."
        raise _unreadable(path, "8 bits a channel, grey or in colour", f"Pillow's mode {image.mode}", todo)
    if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != _OPAQUE:
        todo = "Flatten it onto a background of your choice."
        raise _unreadable(path, "an opaque image", "one with transparent parts", todo)


def _unreadable(path: Path, expected: str, got: str, todo: str) -> DataError:
    return DataError(f"unreadable image {path}", expected=expected, got=got, todo=todo)


def check_like(image: npt.NDArray[Any], path: Path, shape: tuple[int, ...], first: Path) -> None:
    """Refuse an image of another shape than the data set's first.

    Raises:
        DataError: other rows, columns or channels.
    """
    if image.shape == shape:
        return
    mixed = image.shape[0] != shape[0]
    words = {1: "grey", 3: "colour"}
    raise DataError(
        f"images of different {'modes' if mixed else 'sizes'}",
        expected=f"{words[shape[0]]}, {shape[1]} x {shape[2]} pixels, as {first.name}",
        got=f"{words[image.shape[0]]}, {image.shape[1]} x {image.shape[2]} pixels in {path}",
        todo="Give --channels grey, or colour, for all." if mixed else "Give --size N to bring all to N x N.",
    )
