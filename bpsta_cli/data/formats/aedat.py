"""Reader of AEDAT 2.0 and 3.1, the formats of DVS cameras (https://docs.inivation.com, "AEDAT file formats")."""

from __future__ import annotations

import functools
import struct
from pathlib import Path

import numpy as np

from bpsta_cli import reading
from bpsta_cli.data.encoding import Events
from bpsta_cli.data.sources import Clip, damaged
from bpsta_cli.reading import UnreadableError

_VERSION = b"#!AER-DAT"
_END_OF_HEADER = b"#!END-HEADER"
_PACKET = struct.Struct("<hhiiiiii")
"""A packet's header: type, source, bytes per event, offset of the time stamp, its overflow, capacity, number, valid."""
_POLARITY = 1
_EVENT_BYTES = 8
_OVERFLOW_BITS = 31
_DVS128_SIDE = 128


def read_aedat(path: Path) -> Events:
    """One recording of AEDAT 2.0 (of a DVS128) or 3.1, in microseconds.

    Raises:
        DataError: another version or camera, or a damaged file.
    """
    try:
        content = reading.content(path, reading.RECORDING)
    except UnreadableError as refused:
        raise damaged(path, refused.expected, refused.got) from None
    version, start = _header(path, content)
    if version == b"2.0":
        return _read_2(path, content, start)
    if version == b"3.1":
        return _read_3(path, content, start)
    raise damaged(path, "AEDAT 2.0 or 3.1", f"AEDAT {version.decode(errors='replace')}")


def read_clip(clip: Clip) -> Events:
    """The events of a recording with start <= t < stop."""
    state = clip.file.stat()
    events = _whole(clip.file, state.st_mtime_ns, state.st_size)
    inside = (events.t >= clip.start) & (events.t < clip.stop)
    return Events(*(column[inside] for column in events))


@functools.lru_cache(maxsize=1)  # a recording holds a dozen clips, asked for one after the other
def _whole(path: Path, _time: int, _size: int) -> Events:
    return read_aedat(path)


def _header(path: Path, content: bytes) -> tuple[bytes, int]:
    """The version, and where the lines that start with # end."""
    if not content.startswith(_VERSION):
        raise damaged(path, "an AEDAT file", f"a file that starts with {content[:16]!r}")
    version = content[len(_VERSION) :].split(b"\n", 1)[0].strip()
    at = 0
    while content[at : at + 1] == b"#":
        end = content.find(b"\n", at) + 1
        if end == 0:
            raise damaged(path, "events after the header", "nothing")
        line = content[at:end]
        at = end
        if line.startswith(_END_OF_HEADER):
            break
        if b"AEChip:" in line and b"davis" in line.lower():
            raise damaged(path, "the events of a DVS128", line.decode(errors="replace").strip("# \r\n"))
    return version, at


def _read_2(path: Path, content: bytes, start: int) -> Events:
    """Pairs of address and time stamp, 32 bits each, big-endian and signed.

    An address of the DVS128: bit 15 an event that is no pixel's (left out), bits 14-8 and 7-1 the pixel,
    bit 0 the polarity. The format leaves it to the camera's class in jAER, and jAER to its display, where
    0 is and what bit 0 means; here pixels and polarity are as SpikingJelly's `CIFAR10DVS` has them, after
    the data set authors' dat2mat.m, so that a recording read here equals its .npz written there.
    """
    if (len(content) - start) % _EVENT_BYTES:
        raise damaged(path, "a multiple of 8 bytes after the header", f"{len(content) - start:,} bytes")
    table = np.frombuffer(content, ">i4", offset=start).reshape(-1, 2)
    table = table[table[:, 0] & 0x8000 == 0]
    address = table[:, 0].astype(np.int64)
    last = _DVS128_SIDE - 1
    return Events(
        t=table[:, 1].astype(np.int64),
        x=(last - ((address >> 8) & 0x7F)).astype(np.uint8),
        y=(last - ((address >> 1) & 0x7F)).astype(np.uint8),
        p=(1 - (address & 1)).astype(np.uint8),
    )


def _read_3(path: Path, content: bytes, start: int) -> Events:
    """Packets: 28 bytes of header, then events; little-endian. Packets of other events than polarity are skipped.

    A polarity event: bits 17-31 the column, 2-16 the row, 1 the polarity, 0 whether it is valid (which
    neither IBM's description of DVS128 Gesture nor any reader of it looks at), then 31 bits of time; the
    packet says how often those overflowed.
    """
    words, times = [], []
    at = start
    while at < len(content):
        kind, size, overflow, capacity, number = _packet(path, content, at)
        at += _PACKET.size
        if at + capacity * size > len(content):
            left = f"{len(content) - at:,} at byte {at:,}"
            raise damaged(path, f"a packet of {number:,} events ({capacity * size:,} bytes)", left)
        if kind == _POLARITY and number:
            table = np.frombuffer(content, "<u4", count=2 * number, offset=at).reshape(-1, 2)
            words.append(table[:, 0])
            times.append(table[:, 1].astype(np.int64) + (overflow << _OVERFLOW_BITS))
        at += capacity * size
    data = np.concatenate(words) if words else np.empty(0, np.uint32)
    return Events(
        t=np.concatenate(times) if times else np.empty(0, np.int64),
        x=(data >> 17).astype(np.uint16),
        y=((data >> 2) & 0x7FFF).astype(np.uint16),
        p=((data >> 1) & 1).astype(np.uint8),
    )


def _packet(path: Path, content: bytes, at: int) -> tuple[int, int, int, int, int]:
    """Type, bytes per event, overflow, capacity and number of the packet at byte `at`."""
    if at + _PACKET.size > len(content):
        raise damaged(path, f"a packet header of {_PACKET.size} bytes", f"{len(content) - at} at byte {at:,}")
    kind, _source, size, _offset, overflow, capacity, number, _valid = _PACKET.unpack_from(content, at)
    sound = kind >= 0 and size > 0 and overflow >= 0 and 0 <= number <= capacity
    if not sound or (kind == _POLARITY and size != _EVENT_BYTES):
        got = f"type {kind}, {size} bytes an event, {number} events of {capacity} at byte {at:,}"
        raise damaged(path, "a packet header", got)
    return kind, size, overflow, capacity, number
