"""`bpsta predict`: single files are read and encoded as in training."""

import json
from pathlib import Path

import numpy as np
import pytest
from folder_files import write_images, write_recordings, write_series, write_sounds, write_split
from PIL import Image

from bpsta_cli.cli.main import run
from bpsta_cli.config import DatasetSettings
from bpsta_cli.data import single_file
from bpsta_cli.data.store.locate import stores_of
from bpsta_cli.training.run_directory import RunDir

WRITE = {
    "images": lambda root: write_split(root, size=(8, 9)),
    "events": write_recordings,
    "speech": write_sounds,
    "series": write_series,
}
TINY = ["--epochs", "2", "--threads", "1", "--T", "2"]


def trained(kind, folder, *more):
    source = WRITE[kind](folder / "mine")
    where = ["--data-dir", str(folder / "data"), "--out", str(folder / "run")]
    network = "8FC-2Voting" if kind == "series" else "2C3-AP4-2Voting"
    given = ["--dataset", "folder", "--source", str(source), "--network", network]
    assert run(["train", *given, *TINY, *where, *more]) == 0
    return source


@pytest.mark.parametrize("kind", WRITE)
def test_a_test_file_is_the_sample_of_the_store_bit_for_bit_and_is_decided_as_eval_decides(kind, tmp_path, capsys):
    source = trained(kind, tmp_path)
    info = RunDir(tmp_path / "run").info()
    (store,) = stores_of(tmp_path / "data", "folder")
    files = sorted(str(file) for file in (source / "test").rglob("*.*"))
    for row, file in enumerate(files):
        read = single_file.read(Path(file), "folder", info.settings.data, T=2, shape=info.input_shape)
        assert np.array_equal(read.x[0], store.split("test").x[row])
        assert read.scale == store.scale
    capsys.readouterr()
    assert run(["eval", str(tmp_path / "run"), "--data-dir", str(tmp_path / "data"), "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert run(["predict", str(tmp_path / "run"), *files, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["files"]
    labels = store.split("test").y
    right = [each["label"] == label for each, label in zip(found, labels, strict=True)]
    assert sum(right) / len(right) == pytest.approx(whole["accuracy"])
    rates = [each["firing_rate"] for each in found]
    assert sum(rates) / len(rates) == pytest.approx(whole["firing_rate"])
    for each in found:
        assert each["class"] == max(each["votes"], key=each["votes"].get)


def test_what_cannot_be_read_is_refused_in_a_line(tmp_path, capsys):
    source = trained("images", tmp_path)
    Image.new("L", (8, 9)).save(tmp_path / "grey.png")
    (tmp_path / "text.txt").write_text("mine")
    for file, told in {
        source: "a folder: expected files",
        tmp_path / "grey.png": "expected colour, 9 x 8, as folder has, got grey, 9 x 8",
        tmp_path / "text.txt": "a file of another kind than folder",
        tmp_path / "none.png": "none.png",
    }.items():
        capsys.readouterr()
        assert run(["predict", str(tmp_path / "run"), str(file)]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert told in printed.err
        assert len(printed.err.splitlines()) == 1


def test_a_file_is_brought_to_the_channels_and_the_size_that_the_run_was_prepared_with(tmp_path, capsys):
    trained("images", tmp_path, "--channels", "grey", "--size", "8")
    write_images(tmp_path / "new", ("any",), 1, size=(20, 30))
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "new" / "any" / "0.png")]) == 0
    assert "0.png" in capsys.readouterr().out


def test_a_recording_of_dvs_gesture_is_read_as_tonic_writes_it_and_shrunk_as_the_run_says(tmp_path):
    rows = np.array([[x, 2 * x, x % 2, 0.5 * x] for x in range(8)], dtype=np.float64)  # x, y, p, t in milliseconds
    np.save(tmp_path / "3.npy", rows)
    settings = DatasetSettings(network="2C3-2Voting", epochs=2, warmup_epochs=1, batch_size=1, size=64)
    found = single_file.read(tmp_path / "3.npy", "dvs-gesture", settings, T=2, shape=(2, 64, 64))
    assert (found.x.shape, found.scale, found.x.sum()) == ((1, 2, 2, 64, 64), 1, 8)
