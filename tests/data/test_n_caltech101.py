"""N-Caltech101, from files that are written here in its format: the published ones are not at hand."""

import importlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import n_mnist_bytes, ramp

from bpsta_cli.cli.main import run
from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

CLASSES = catalogue.get("n-caltech101").classes


def write(folder, classes=(("accordion", 12), ("yin_yang", 9))):
    """Recordings of different sizes and lengths, the last of a class the longest."""
    for name, count in classes:
        (folder / name).mkdir(parents=True)
        for number in range(1, count + 1):
            events = n_mnist_bytes(ramp(40 + number, side=100 + number))
            (folder / name / f"image_{number:04d}.bin").write_bytes(events)
    return folder


@pytest.mark.parametrize("inside", [".", "Caltech101", "NCALTECH101/Caltech101", "extract/Caltech101"])
def test_the_last_tenth_of_each_class_tests_and_every_event_is_kept(tmp_path, inside):
    write(tmp_path / "given" / inside)
    store = prepare("n-caltech101", Preparation(T=2, size=60), source=tmp_path / "given", data_dir=tmp_path)
    assert [len(store.split(part)) for part in ("train", "test")] == [20, 1]
    assert store.split("test").x.sum() == 52, "recording 12 of 12; a tenth of nine is none"
    assert [CLASSES[label] for label in np.unique(store.split("train").y)] == ["accordion", "yin_yang"]
    assert (store.shape, store.split_description[:17]) == ((2, 60, 60), "no official split")


def test_the_counts_of_the_row_are_a_split_of_the_published_number_of_recordings():
    assert sum(catalogue.get("n-caltech101").counts) == 8709
    assert len(CLASSES) == 101


def test_the_archive_in_tonics_archive_is_unpacked(tmp_path, monkeypatch):
    def fetch(save_to):
        inner = Path(save_to) / "NCALTECH101" / "Caltech101.zip"
        inner.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(inner, "w") as archive:
            for file in write(tmp_path / "made").rglob("*.bin"):
                archive.write(file, Path("Caltech101") / file.relative_to(tmp_path / "made"))

    monkeypatch.setattr(importlib.import_module("tonic.datasets"), "NCALTECH101", fetch)
    assert len(prepare("n-caltech101", Preparation(T=2, size=30), data_dir=tmp_path).split("train")) == 20
    assert (tmp_path / "raw" / "NCALTECH101" / "Caltech101").is_dir()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("image_0003.bin", n_mnist_bytes(ramp(40))[:-1], "a multiple of 5 bytes"),
        ("image_0003.bin", n_mnist_bytes([(3, 200, 0, 1), (3, 200, 0, 9)]), "y from 0 to 179"),
        ("image.bin", n_mnist_bytes(ramp(40)), "a name that ends in the recording's number"),
    ],
)
def test_a_damaged_recording_is_refused_by_name(tmp_path, name, content, message):
    (write(tmp_path / "given") / "accordion" / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        prepare("n-caltech101", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)
    assert name in str(caught.value)


def test_a_folder_that_is_no_class_is_refused_instead_of_left_out(tmp_path):
    write(tmp_path / "given", [("accordion", 10), ("ants", 1)])
    (tmp_path / "given" / "notes").mkdir()
    with pytest.raises(DataError, match="no class of N-Caltech101") as caught:
        prepare("n-caltech101", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)
    assert f"ants in {tmp_path / 'given'}" in str(caught.value)


def test_the_recipe_trains_and_predict_reads_a_single_recording(tmp_path, capsys):
    source = write(tmp_path / "given", [("accordion", 10), ("ant", 10)])
    given = ["--dataset", "n-caltech101", "--source", str(source), "--T", "1", "--epochs", "2", "--threads", "1"]
    assert run(["train", *given, "--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), str(source / "ant" / "image_0010.bin"), "--json"]) == 0
    assert "image_0010.bin" in capsys.readouterr().out
