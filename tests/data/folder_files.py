"""Folders of a user's own: images, event recordings in every format, and sounds; and how a test prepares one."""

import wave

import numpy as np
from aedat_files import HEADER_3, aedat2_bytes, packet
from data_files import n_mnist_bytes, write_gesture_npz
from PIL import Image

from bpsta_cli.config import Preparation
from bpsta_cli.data.store import prepare


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


def read(source, tmp_path, **preparation):
    return prepare("folder", Preparation(T=2, **preparation), source=source, data_dir=tmp_path / "data")


def write_series(root, form=".csv", moments=(9, 12), channels=3):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("rest", "walk"):
            (root / split / label).mkdir(parents=True)
            for index, length in enumerate(moments):
                values = rng.normal(9.81, 2.5, (length, channels))
                file = root / split / label / f"{index}{form}"
                if form == ".csv":
                    np.savetxt(file, values, delimiter=",", header="a,b,c", comments="")
                else:
                    np.savez(file, x=values)
    return root
