"""safetensors: the header is held against the file's size before the weights are read."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from bpsta_cli.reading.documents import parsed_object
from bpsta_cli.reading.regular import MIB, WEIGHTS, opened, unreadable

_HEADER_BYTES = 8 * MIB
_LENGTH_BYTES = 8
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
"""Bytes of a value of each type."""


def safetensors(path: Path, most: int = WEIGHTS, check: Callable[[dict[str, Any]], None] | None = None) -> bytes:
    """The bytes of a safetensors file whose header describes exactly what follows it.

    Args:
        path: the file.
        most: bytes that it may have.
        check: called with the header before anything else is read; raises where it is not what is wanted.

    Raises:
        UnreadableError: no file that can be read, or another header.
    """
    with opened(path, most) as file:
        size = os.fstat(file.fileno()).st_size
        start, header = _header(path, file, size)
        if check is not None:
            check(header)
        _check(path, header, size - start)
        file.seek(0)
        return file.read(size)


def _header(path: Path, file: BinaryIO, size: int) -> tuple[int, dict[str, Any]]:
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > min(_HEADER_BYTES, size - _LENGTH_BYTES):
        raise unreadable(path, "a safetensors file", f"a header of {length:,} bytes in a file of {size:,}")
    try:
        header = file.read(length).decode("utf-8")
    except UnicodeDecodeError:
        raise unreadable(path, "a safetensors file", "a header that is not UTF-8") from None
    return _LENGTH_BYTES + length, parsed_object(path, header)


def _check(path: Path, header: dict[str, Any], size: int) -> None:
    """Refuse tensors that overlap, leave gaps, or take other bytes than their shapes need."""
    header.pop("__metadata__", None)
    at = 0
    for name, (begin, end, needed) in sorted(_places(path, header).items(), key=lambda item: item[1]):
        if begin != at or end - begin != needed:
            raise unreadable(path, f"{needed:,} bytes of {name} from byte {at:,}", f"bytes {begin:,} to {end:,}")
        at = end
    if at != size:
        raise unreadable(path, f"{at:,} bytes of weights", f"{size:,}")


def _places(path: Path, header: dict[str, Any]) -> dict[str, tuple[int, int, int]]:
    """First byte, end, and bytes that type and shape need, of each tensor."""
    places = {}
    for name, entry in header.items():
        place = _place(entry)
        if place is None:
            raise unreadable(path, f"type, shape and place of {name}", repr(entry)[:80])
        places[name] = place
    return places


def _place(entry: Any) -> tuple[int, int, int] | None:
    try:
        shape, (begin, end), width = entry["shape"], entry["data_offsets"], _WIDTHS[entry["dtype"]]
        sound = len(shape) <= 16 and all(type(number) is int and number >= 0 for number in (*shape, begin, end))
    except (KeyError, TypeError, ValueError):
        return None
    return (begin, end, math.prod(shape) * width) if sound else None
