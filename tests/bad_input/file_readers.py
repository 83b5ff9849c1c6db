"""Every reader of a file that a user can give: its name, a good file for it, and how it is called."""

import gzip
import io
import json
import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import safetensors.torch
import soundfile
import torch
from PIL import Image

from bpsta_cli.config import Params, load_params
from bpsta_cli.data import catalogue
from bpsta_cli.data.datasets import heidelberg
from bpsta_cli.data.datasets.cifar import _read_pickled
from bpsta_cli.data.datasets.series_tables import read as read_table
from bpsta_cli.data.formats.aedat import read_aedat
from bpsta_cli.data.formats.audio import read_wav
from bpsta_cli.data.formats.event_files import read_n_mnist, read_npy, read_npz, read_tonic_npy
from bpsta_cli.data.formats.idx import read_idx
from bpsta_cli.data.formats.images import read_image
from bpsta_cli.data.formats.series import read_series, steps
from bpsta_cli.data.store import manifest
from bpsta_cli.energy import load_tech
from bpsta_cli.reporting import records
from bpsta_cli.reporting.any_runs import as_results, read_runs
from bpsta_cli.reporting.collect import collect
from bpsta_cli.reporting.run_table import read_run_table
from bpsta_cli.reporting.side_by_side import compare
from bpsta_cli.reporting.time_steps import history
from bpsta_cli.training.run_directory import RunDir

ROOT = Path(__file__).parents[2]
RUN = "digits-bpsta-T4-s0"


@dataclass(frozen=True)
class Reader:
    """A reader of files.

    Attributes:
        name: what tests call it.
        file: the name that a file must have for it, below a folder of its own.
        good: the bytes of a file that it reads.
        read: reads the file at a path.
        kind: what the file is made of: json, yaml, csv, npy, npz, hdf5, series in either form, or other bytes.
    """

    name: str
    file: str
    good: Callable[[], bytes]
    read: Callable[[Path], Any]
    kind: str = "bytes"


def results(path: str) -> Callable[[], bytes]:
    return (ROOT / "results" / path).read_bytes


@cache
def table_of_runs() -> bytes:
    """Of the committed one, the first runs, and one without norm, which is called none."""
    rows = (ROOT / "docs" / "study" / "runs.csv").read_text().splitlines(keepends=True)
    return "".join([*rows[:5], next(row for row in rows if row.endswith(",none\n"))]).encode()


def saved(write: Callable[[Any], Any]) -> Callable[[], bytes]:
    def bytes_of() -> bytes:
        file = io.BytesIO()
        write(file)
        return file.getvalue()

    return cache(bytes_of)


@cache
def study() -> Params:
    """One run, measured."""
    whole = load_params(ROOT / "params.yaml")
    run = whole.runs[RUN]
    return whole.model_copy(update={"measured": {RUN: run}, "train_only": {}})


def report(path: Path, place: str) -> Any:
    """What a report collects, with `path` in the place of one of the run's files."""
    folder = path.parent / "results"
    for name in ("train/{}/metrics.json", "train/{}/history.csv", "train/{}/settings.json", "energy/{}.json"):
        copy(folder, name.format(RUN), path if name == place else None)
    copy(folder, f"latency/{RUN}.json", path if place == "latency/{}.json" else None)
    return collect(folder, study())


def copy(folder: Path, name: str, instead: Path | None) -> None:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    target.symlink_to(ROOT / "results" / name if instead is None else instead)


def reporting(place: str, kind: str = "json") -> Reader:
    name = place.format(RUN)
    return Reader(f"report {Path(name.replace(RUN, 'run')).name} of {name.split('/')[0]}", "file",
                  results(name), lambda path: report(path, place), kind)  # fmt: skip


def compared(path: Path, place: str) -> Any:
    """A run as it is compared with others, with `path` in the place of one of its files."""
    folder = path.parent / "compared"
    for name in ("settings.json", "metrics.json", "history.csv"):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        target.symlink_to(ROOT / "results" / "train" / RUN / name if name != place else path)
    found = compare(read_runs([folder]))
    return found.results_display(), found.settings_display(), found.note(), as_results(found.runs)


def comparing(name: str, kind: str = "json") -> Reader:
    return Reader(f"{name} of a run beside others", "file", results(f"train/{RUN}/{name}"),
                  lambda path: compared(path, name), kind)  # fmt: skip


def packet(count: int) -> bytes:
    """An AEDAT 3.1 packet of polarity events."""
    header = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, count, count, count)
    return header + b"".join(struct.pack("<II", x << 17 | x << 2 | 1, 10 * x) for x in range(count))


AEDAT_2 = b"#!AER-DAT2.0\r\n# made by hand\r\n" + b"".join(struct.pack(">ii", x << 1, x) for x in range(9))
AEDAT_3 = b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + packet(9) + packet(3)
EVENTS = {key: np.arange(6, dtype=np.int64) % (2 if key == "p" else 9) for key in "txyp"}
IDX = bytes((0, 0, 8, 3)) + struct.pack(">III", 2, 3, 4) + bytes(range(24))
SOUND = np.linspace(-0.5, 0.5, 800)
BATCH = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
MANIFEST: dict[str, Any] = {
    "format": 1,
    "dataset": "digits",
    "settings": {"T": None, "split_by": None, "size": None, "resize": None, "test_fraction": None, "split_seed": None},
    "shape": [1, 8, 8],
    "classes": [str(n) for n in range(10)],
    "scale": 0.0625,
    "split": "by hand",
    "partial": None,
    "arrays": {"train_x": {"dtype": "uint8", "shape": [2, 1, 8, 8], "bytes": 256, "sha256": "0" * 64}},
    "source": "0" * 64,
    "versions": {"numpy": "2"},
}


def picture(form: str, mode: str = "RGB") -> Callable[[], bytes]:
    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).convert(mode)
    return saved(lambda file: image.save(file, form))


def sound(**how: Any) -> Callable[[], bytes]:
    return saved(lambda file: soundfile.write(file, SOUND, 8000, format="WAV", **how))


def spiking_words(file: Any, compression: str | None = None) -> None:
    """Three recordings as in SHD."""
    how = {"maxshape": (None,), "chunks": (2,), "compression": compression}
    with h5py.File(file, "w") as root:
        for name, values in (("times", np.linspace(0, 1, 9, dtype=np.float16)), ("units", np.arange(9, dtype="u2"))):
            array = root.create_dataset(f"spikes/{name}", (3,), h5py.vlen_dtype(values.dtype), **how)
            for row in range(3):
                array[row] = values[row:]
        root["labels"] = np.arange(3, dtype=np.uint16)
        root["extra/keys"] = np.array([b"zero", b"one", b"two"])


def series(path: Path) -> Any:
    """A series, as a single step."""
    return steps(read_series(path), 1, str(path))


def heard(path: Path) -> Any:
    """Every recording of a file of spikes; the last is what is gone on with."""
    return [heidelberg.read(row) for row in heidelberg._recordings(catalogue.get("shd"), path).items][-1]


WEIGHTS = {"conv1.weight": torch.ones(2, 1, 3, 3), "lif.v": torch.zeros(3)}
COSTS = (
    b"name: mine\nsource: a book\nadd_pj: 1.0\nmultiply_pj: 2.0\nword_bits: 32\nint_add_pj: 0.1\n"
    b"int_multiply_pj: 3\nint8_multiply_pj: 0.2\nsram: [[8192, 10.0], [32768, 20.0]]\n"
)


EVALUATION = {
    "accuracy": 0.9,
    "weights_sha256": "0",
    "quantised": {"bits": 4, "accuracy": 0.8, "fine_tuned": {"epochs": 2, "lr": 0.001, "accuracy": 0.85}},
}


@cache
def whole_manifest() -> bytes:
    values = MANIFEST | {"content_hash": ""}
    as_read = manifest.Manifest.model_validate(values).model_dump(mode="json", by_alias=True)
    return json.dumps(values | {"content_hash": manifest.hash_content(as_read)}).encode()


READERS = (
    Reader("params.yaml", "params.yaml", (ROOT / "params.yaml").read_bytes, load_params, "yaml"),
    Reader("cost table", "costs.yaml", lambda: COSTS, lambda path: load_tech(str(path)), "yaml"),
    Reader("settings.json", "settings.json",
           results(f"train/{RUN}/settings.json"), lambda p: RunDir(p.parent).info(), "json"),
    Reader("metrics.json", "metrics.json",
           results(f"train/{RUN}/metrics.json"), lambda p: RunDir(p.parent).metrics(), "json"),
    Reader("timings.json", "timings.json",
           lambda: b'{"epoch_seconds": [0.5]}', lambda p: RunDir(p.parent).timings(), "json"),
    Reader("weights", "model.safetensors",
           lambda: safetensors.torch.save(WEIGHTS), lambda p: RunDir(p.parent).weights()),
    Reader("history of a run", "history.csv", results(f"train/{RUN}/history.csv"), lambda p: history(p.parent), "csv"),
    Reader("manifest", "manifest.json", whole_manifest, lambda path: manifest.read(path.parent), "json"),
    comparing("settings.json"),
    comparing("metrics.json"),
    comparing("history.csv", "csv"),
    reporting("train/{}/metrics.json"),
    reporting("train/{}/history.csv", "csv"),
    reporting("train/{}/settings.json"),
    reporting("energy/{}.json"),
    reporting("latency/{}.json"),
    Reader("eval.json of a twin", "eval.json",
           lambda: json.dumps(EVALUATION).encode(), lambda path: records.read(path, "eval"), "json"),
    Reader("table of runs", "runs.csv", table_of_runs, read_run_table, "csv"),
    Reader("npz", "a.npz", saved(lambda file: np.savez(file, **EVENTS)), read_npz, "npz"),
    Reader("packed npz", "a.npz", saved(lambda file: np.savez_compressed(file, **EVENTS)), read_npz, "npz"),
    Reader("npy", "a.npy", saved(lambda file: np.save(file, np.zeros((5, 4), np.int64))), read_npy, "npy"),
    Reader("tonic's npy", "a.npy", saved(lambda file: np.save(file, np.ones((5, 4)))), read_tonic_npy, "npy"),
    Reader("N-MNIST's bin", "a.bin", lambda: bytes(range(50)), read_n_mnist),
    Reader("AEDAT 2.0", "a.aedat", lambda: AEDAT_2, read_aedat),
    Reader("AEDAT 3.1", "a.aedat", lambda: AEDAT_3, read_aedat),
    Reader("series in npz", "a.npz", saved(lambda file: np.savez(file, x=np.ones((5, 3)))), series, "npz of series"),
    Reader("series in CSV", "a.csv", lambda: b"time,value\n0,1.5\n1,-2e3\n2,.25\n", series, "csv of series"),
    Reader("table of series in npz", "a.npz", saved(lambda file: np.savez(file, x=np.ones((2, 3)), y=[0, 1])),
           lambda path: read_table(path).x, "npz of tables"),
    Reader("table of series in CSV", "a.csv", lambda: b"class,value\n0,1.5\n1,-2e3\n",
           lambda path: read_table(path).x, "csv of tables"),
    Reader("SHD's HDF5", "a.h5", saved(spiking_words), heard, "hdf5"),
    Reader("packed HDF5", "a.h5", saved(lambda file: spiking_words(file, "gzip")), heard, "hdf5"),
    Reader("IDX", "a-ubyte", lambda: IDX, lambda path: read_idx(path, 3)),
    Reader("IDX in gzip", "a.gz", lambda: gzip.compress(IDX, mtime=0), lambda path: read_idx(path, 3)),
    Reader("WAV of PCM", "a.wav", sound(subtype="PCM_16"), read_wav),
    Reader("WAV of floats", "a.wav", sound(subtype="FLOAT"), read_wav),
    Reader("WAV of mu-law", "a.wav", sound(subtype="ULAW"), read_wav),
    Reader("PNG", "a.png", picture("PNG"), read_image),
    Reader("JPEG", "a.jpg", picture("JPEG"), read_image),
    Reader("GIF", "a.gif", picture("GIF", "P"), read_image),
    Reader("BMP", "a.bmp", picture("BMP"), read_image),
    Reader("TIFF", "a.tif", picture("TIFF"), read_image),
    Reader("PPM", "a.ppm", picture("PPM"), read_image),
    Reader("WebP", "a.webp", picture("WEBP"), read_image),
    Reader("CIFAR's pickle", "data_batch_1", lambda: pickle.dumps(BATCH, 2), lambda path: _read_pickled(path, None)),
)  # fmt: skip
BY_NAME = {reader.name: reader for reader in READERS}
