"""Tensors in a safetensors file: its sizes are checked before memory is taken, its bytes and values before use.

The format: eight bytes with the header's length, the header (JSON: type, shape and place of each tensor), the numbers.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bpsta_cli.checksums import DamagedError
from bpsta_cli.reading import MissingError, UnreadableError
from bpsta_cli.reading.tensors import safetensors

_LENGTH_BYTES = 8
_CHECKSUM = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_UNSET = "0" * 64

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Header:
    """What a file says of its tensors: shape and type of each, and words beside them."""

    shapes: Shapes
    dtypes: dict[str, str]
    metadata: dict[str, str]


def pack(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> bytes | bytearray:
    """The bytes of a file; with `metadata` a checksum over all of them stands among it."""
    owned = {name: _owned(tensor) for name, tensor in tensors.items()}
    if metadata is None:
        return bytes(save_tensors(owned))
    content = bytearray(save_tensors(owned, {**metadata, "sha256": _UNSET}))
    place = _checksum_place(content)
    content[place] = hashlib.sha256(content).hexdigest().encode()
    return content


def unpack(content: bytes) -> dict[str, Tensor]:
    """The tensors in what `pack` gave to this run's own processes; it is not checked."""
    tensors: dict[str, Tensor] = load_tensors(content)
    return tensors


def _owned(tensor: Tensor) -> Tensor:
    """The tensor in the host's memory, in order, in memory that it shares with no other: so the format wants it."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def read(
    file: Path, check: Callable[[Header], None] | None = None, *, sha256: str | None = None
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a file and its metadata, checked.

    Args:
        file: of weights or of a training state.
        check: called with the header before the numbers are read; raises where it is not what is wanted.
        sha256: of the whole file; None: the checksum is in its metadata, where there is one.

    Raises:
        DamagedError: sizes, checksum or format are not as they were written, or a value is not finite.
        FileNotFoundError: it is not there.
    """
    header = Header({}, {}, {})

    def look(described: dict[str, Any]) -> None:
        nonlocal header
        header = _header(described)
        if check is not None:
            check(header)

    try:
        content = safetensors(file, check=look)
    except MissingError:
        raise FileNotFoundError(file) from None
    except UnreadableError as broken:
        raise DamagedError(broken.got) from None
    _check_sum(content, sha256, header)
    try:
        tensors = load_tensors(content)
    except SafetensorError as broken:
        raise DamagedError(str(broken)) from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DamagedError(f"{name} with a value that is not finite")
    return tensors, header.metadata


def _header(described: dict[str, Any]) -> Header:
    tensors = {name: each for name, each in described.items() if name != "__metadata__"}
    try:
        metadata = {str(key): str(value) for key, value in described.get("__metadata__", {}).items()}
        shapes = {name: tuple(map(int, each["shape"])) for name, each in tensors.items()}
        return Header(shapes, {name: str(each["dtype"]) for name, each in tensors.items()}, metadata)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DamagedError("a header that is none") from None


def _checksum_place(content: bytes | bytearray) -> slice:
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    found = _CHECKSUM.search(content, 0, _LENGTH_BYTES + length)
    if found is None:
        raise DamagedError("no checksum")
    return slice(*found.span(1))


def _check_sum(content: bytes, sha256: str | None, header: Header) -> None:
    digest, rest = hashlib.sha256(), memoryview(content)
    if sha256 is None:
        if not header.metadata:
            return
        place = _checksum_place(content)
        sha256 = content[place].decode()
        digest.update(rest[: place.start])
        digest.update(_UNSET.encode())
        rest = rest[place.stop :]
    digest.update(rest)
    if digest.hexdigest() != sha256:
        raise DamagedError("another checksum than was recorded")
