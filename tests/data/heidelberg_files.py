"""HDF5 files in the format of the Heidelberg spiking data sets, written by h5py as PyTables lays them out."""

from pathlib import Path

import h5py
import numpy as np

from bpsta_cli.data import catalogue

PARTS = {"shd": ("train", "test"), "ssc": ("train", "test", "valid")}


def spikes(seed: int, count: int = 30):
    """Times in seconds, as half precision, and units."""
    random = np.random.default_rng(seed)
    return np.sort(random.uniform(0, 1, count)).astype(np.float16), random.integers(0, 700, count).astype(np.uint16)


def write_part(file: Path, recordings, labels, keys, *, form: str = "chunks", texts: str = "fixed") -> Path:
    """`recordings`: pairs of times and units."""
    file.parent.mkdir(parents=True, exist_ok=True)
    how = {
        "chunks": {"maxshape": (None,), "chunks": (2,)},
        "packed": {"maxshape": (None,), "chunks": (2,), "compression": "gzip"},
        "whole": {},
    }[form]
    with h5py.File(file, "w") as root:
        for name, column, kind in (("times", 0, np.float16), ("units", 1, np.uint16)):
            array = root.create_dataset(f"spikes/{name}", (len(recordings),), h5py.vlen_dtype(kind), **how)
            for row, recording in enumerate(recordings):
                array[row] = recording[column]
        filters = {"shuffle": True, "fletcher32": True} if form == "packed" else {}
        root.create_dataset("labels", data=np.asarray(labels, dtype=np.uint16), **how, **filters)
        root["extra/keys"] = np.array([key.encode() for key in keys]) if texts == "fixed" else list(keys)
        root["extra/speaker"] = np.zeros(len(recordings), np.uint16)
    return file


def write_heidelberg(folder: Path, name: str = "shd", *, train: int = 6, test: int = 3, parts=None) -> Path:
    keys = catalogue.get(name).classes
    for part in parts or PARTS[name]:
        count = train if part == "train" else test
        recordings = [spikes(100 * len(part) + row, 30 + row) for row in range(count)]
        write_part(folder / f"{name}_{part}.h5", recordings, np.arange(count) % len(keys), keys)
    return folder
