"""Reads one image file, of any format that Pillow knows."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bpsta_cli.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

_CHANNELS = {"1": 1, "L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "P": 3, "PA": 3, "CMYK": 3, "YCbCr": 3, "LAB": 3, "HSV": 3}
"""Channels that an image of each of Pillow's modes of 8 bits becomes: grey or red, green and blue."""
_OPAQUE = 255


@lru_cache(maxsize=1)
def formats() -> dict[str, str]:
    """The endings of the files that Pillow reads, as ".jpg", and the format that goes by each."""
    from PIL import Image

    Image.init()
    return {suffix: form for suffix, form in Image.registered_extensions().items() if form in Image.OPEN}


def read_image(path: Path, size: int | None = None, resize: str | None = None) -> npt.NDArray[np.uint8]:
    """An image as [C, H, W], C = 1 (grey) or 3 (red, green, blue), turned as its camera was held.

    Args:
        path: the file.
        size: rows and columns to bring it to, whatever its proportions; None leaves it as it is.
        resize: "nearest" keeps one pixel of each window of pixels, anything else takes their mean.

    Raises:
        DataError: no image, a damaged one, several in one file, not 8 bits per channel, or transparent parts.
    """
    from PIL import Image, ImageOps

    try:
        with _opened(path) as image:
            _check(image, path)
            whole: Image.Image = ImageOps.exif_transpose(image)
            whole = whole.convert("L" if _CHANNELS[image.mode] == 1 else "RGB")
            if size is not None:
                how = Image.Resampling.NEAREST if resize == "nearest" else Image.Resampling.BOX
                whole = whole.resize((size, size), how)
            pixels = np.asarray(whole)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise _unreadable(
            path, "a whole image", " ".join(str(error).split()), "Save it again, or leave it out."
        ) from error
    return np.ascontiguousarray(np.atleast_3d(pixels).transpose(2, 0, 1))


def _opened(path: Path) -> Image.Image:
    """The image, taken for what its name says first: to try every format takes longer than to decode a small one."""
    from PIL import Image, UnidentifiedImageError

    likely = formats().get(path.suffix.lower())
    try:
        return Image.open(path, formats=[likely] if likely else None)
    except UnidentifiedImageError:
        return Image.open(path)


def _check(image: Image.Image, path: Path) -> None:
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
        todo="Convert all to grey or all to colour." if mixed else "Give --size N to bring all to N x N.",
    )
