"""Small files in the formats of other projects, written byte by byte."""

import gzip
import struct
from pathlib import Path

import numpy as np


def idx_bytes(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(path: Path, array, *, compress: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = idx_bytes(np.asarray(array, dtype=np.uint8))
    if compress:
        path = path.with_name(path.name + ".gz")
        content = gzip.compress(content)
    path.write_bytes(content)
    return path


def write_mnist(folder: Path, *, train: int = 12, test: int = 5, compress: bool = False) -> Path:
    for prefix, count in (("train", train), ("t10k", test)):
        images = np.arange(count * 28 * 28).reshape(count, 28, 28) % 251
        write_idx(folder / f"{prefix}-images-idx3-ubyte", images, compress=compress)
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", np.arange(count) % 10, compress=compress)
    return folder


def n_mnist_bytes(events) -> bytes:
    """`events`: rows of (x, y, p, t)."""
    return b"".join(bytes((x, y)) + struct.pack(">I", p << 23 | t)[1:] for x, y, p, t in events)


def ramp(count: int, *, side: int = 34, step: int = 100):
    """Events that visit other pixels and polarities in order of time: rows of (x, y, p, t)."""
    return [(i % side, (3 * i) % side, i % 2, step * i) for i in range(count)]


def write_n_mnist(folder: Path, *, train: int = 4, test: int = 2, events: int = 40) -> Path:
    for split, count in (("Train", train), ("Test", test)):
        for index in range(count):
            file = folder / split / str(index % 10) / f"{index + 1:05d}.bin"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(n_mnist_bytes(ramp(events + index)))
    return folder


def write_gesture_npz(file: Path, rows) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    x, y, p, t = np.array(rows, dtype=np.int64).T
    np.savez(file, t=t, x=x.astype(np.uint8), y=y.astype(np.uint8), p=p.astype(np.uint8))
    return file


def write_gestures(folder: Path, *, splits=("train", "test"), each: int = 1) -> Path:
    for split in splits:
        for label in range(11):
            for index in range(each):
                rows = ramp(60 + label, side=128)
                write_gesture_npz(folder / split / str(label) / f"user{index}.npz", rows)
    return folder


def write_wav(file: Path, samples, *, rate: int = 16_000) -> Path:
    """16-bit PCM, mono."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sound = np.asarray(samples, dtype="<i2").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    data = struct.pack("<4sI", b"data", len(sound)) + sound
    file.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(form) + len(data)) + b"WAVE" + form + data)
    return file
