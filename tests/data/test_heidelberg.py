"""SHD and SSC, from files that are written here in their format: the published ones are not at hand."""

import importlib
import re
from pathlib import Path
from urllib.error import URLError

import h5py
import numpy as np
import pytest
from heidelberg_files import spikes, write_heidelberg, write_part

from bpsta_cli.cli.main import run
from bpsta_cli.config import DatasetSettings, Preparation
from bpsta_cli.data import catalogue, single_file
from bpsta_cli.data.datasets.heidelberg import read_single
from bpsta_cli.data.presets import preset
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

WORDS = catalogue.get("shd").classes


def frames_of(recording, T):
    """Counts [T, 1, 1, 700] by time, one spike after another."""
    t, units = np.rint(recording[0].astype(np.float64) * 1e6).astype(int), recording[1]
    window = (t[-1] - t[0]) // T
    frames = np.zeros((T, 1, 1, 700), int)
    for time, unit in zip(t, units, strict=True):
        frames[min((time - t[0]) // window, T - 1), 0, 0, unit] += 1
    return frames


@pytest.mark.parametrize("form", ["chunks", "packed", "whole"])
@pytest.mark.parametrize("texts", ["fixed", "variable"])
def test_every_spike_is_counted_at_its_unit_and_time_however_the_file_is_laid_out(tmp_path, form, texts):
    for part, first in (("train", 0), ("test", 5)):
        recordings = [spikes(first + row, 40 + row) for row in range(3)]
        write_part(tmp_path / f"shd_{part}.h5", recordings, [3, 19, 0], WORDS, form=form, texts=texts)
    store = prepare("shd", Preparation(T=4, split_by="time"), source=tmp_path, data_dir=tmp_path)
    for part, first in (("train", 0), ("test", 5)):
        expected = [frames_of(spikes(first + row, 40 + row), 4) for row in range(3)]
        assert store.split(part).x.tolist() == np.array(expected).tolist()
    assert (store.split("train").y.tolist(), store.shape, store.classes) == ([3, 19, 0], (1, 1, 700), WORDS)


def test_the_events_are_those_that_tonic_reads(tmp_path):
    datasets = pytest.importorskip("tonic.datasets")
    write_heidelberg(tmp_path / "SHD")
    (tmp_path / "SHD" / "shd_test.h5.zip").touch()
    theirs, label = datasets.SHD(str(tmp_path), train=False)[2]
    ours = read_single(tmp_path / "SHD" / "shd_test.h5:2")
    assert np.abs(ours.t - theirs["t"]).max() <= 1, "tonic cuts what is rounded here"
    assert (ours.x.tolist(), int(label)) == (theirs["x"].tolist(), 2)
    assert set(ours.y) | set(ours.p) == {0}


def test_neighbouring_units_are_summed_to_the_number_that_is_asked_for(tmp_path):
    write_heidelberg(tmp_path)
    whole, small = (
        prepare("shd", Preparation(T=2, size=size), source=tmp_path, data_dir=tmp_path) for size in (700, 140)
    )
    assert (whole.path.name, small.path.name, small.shape) == ("T2-number", "T2-number-140", (1, 1, 140))
    x = whole.split("train").x
    assert np.array_equal(x.reshape(6, 2, 1, 1, 140, 5).sum(axis=-1), small.split("train").x)
    with pytest.raises(DataError, match=r"expected one of 1, 2, 4, 5, 7, .* 350, 700, got 64"):
        prepare("shd", Preparation(T=2, size=64), source=tmp_path, data_dir=tmp_path)


def test_ssc_brings_its_validation_part(tmp_path):
    write_heidelberg(tmp_path / "SSC", "ssc", train=5, test=2)
    store = prepare("ssc", Preparation(T=2), source=tmp_path, data_dir=tmp_path)
    assert [len(store.split(part)) for part in ("train", "test", "validation")] == [5, 2, 2]
    assert store.manifest.partial == "5 of 75,466 training and 2 of 20,382 test samples"


def test_labels_follow_the_names_in_the_file_whatever_their_order_and_spelling(tmp_path):
    backwards = [word.replace("fuenf", "fünf").upper() for word in reversed(WORDS)]
    for part in ("train", "test"):
        write_part(tmp_path / f"shd_{part}.h5", [spikes(0), spikes(1)], [0, 4], backwards, texts="variable")
    assert backwards[4] == "FÜNF"
    store = prepare("shd", Preparation(T=2), source=tmp_path, data_dir=tmp_path)
    assert [store.classes[label] for label in store.split("test").y] == ["neun", "fuenf"]


def test_a_silent_recording_is_empty_frames_and_a_short_one_is_in_the_last(tmp_path):
    nothing, two = (np.zeros(0), np.zeros(0)), (np.array([0.5, 0.25]), np.array([7, 699]))
    for part in ("train", "test"):
        write_part(tmp_path / f"shd_{part}.h5", [nothing, two], [0, 1], WORDS)
    store = prepare("shd", Preparation(T=4), source=tmp_path, data_dir=tmp_path)
    x = store.split("train").x
    assert x.sum(axis=(2, 3, 4)).tolist() == [[0] * 4, [0, 0, 0, 2]]
    by_time = prepare("shd", Preparation(T=4, split_by="time"), source=tmp_path, data_dir=tmp_path).split("train").x
    assert np.argwhere(by_time[1]).tolist() == [[0, 0, 0, 699], [3, 0, 0, 7]]


@pytest.mark.parametrize("inside", [".", "SHD", "extract", "SHD/extract", "hsd/SHD"])
def test_a_copy_is_found_where_tonic_and_spikingjelly_put_it(tmp_path, inside):
    write_heidelberg(tmp_path / "given" / inside)
    assert len(prepare("shd", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path).split("test")) == 3


def test_a_share_stands_in_for_a_missing_test_part(tmp_path):
    write_heidelberg(tmp_path / "given", parts=("train",))
    with pytest.raises(DataError, match=r"has no test split here: expected .*shd_test.h5, got no such file"):
        prepare("shd", Preparation(T=2), source=tmp_path / "given", data_dir=tmp_path)
    stores = [
        prepare("shd", Preparation(T=2, test_fraction=0.5), source=tmp_path / "given", data_dir=tmp_path / name)
        for name in "ab"
    ]
    assert [len(stores[0].split(part)) for part in ("train", "test")] == [3, 3]
    assert stores[0].content_hash == stores[1].content_hash


def test_tonic_downloads_each_part(tmp_path, monkeypatch):
    asked = []

    def fetch(save_to, **how):
        asked.append(how)
        write_heidelberg(Path(save_to) / "SSC", "ssc", train=2, test=1)

    monkeypatch.setattr(importlib.import_module("tonic.datasets"), "SSC", fetch)
    assert len(prepare("ssc", Preparation(T=2), data_dir=tmp_path).split("train")) == 2
    assert asked == [{"split": "train"}, {"split": "test"}, {"split": "valid"}]


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(importlib.import_module("tonic.datasets"), "SHD", fail)
    with pytest.raises(
        DataError, match=r"expected shd_train\.h5\.zip, got no connection .*or name a copy with --source"
    ):
        prepare("shd", Preparation(T=1), data_dir=tmp_path)


GOOD = (np.array([0.1, 0.2]), np.array([3, 4]))


@pytest.mark.parametrize(
    ("recordings", "labels", "keys", "message"),
    [
        ([(np.array([-0.1, 0.2]), np.array([3, 4]))], [0], WORDS, "recording 0: expected spikes/times from 0 to 3600"),
        ([GOOD, (np.array([0.1, np.nan]), np.array([3, 4]))], [0, 1], WORDS, "recording 1: .*got nan to nan"),
        ([(np.array([0.1, np.inf]), np.array([3, 4]))], [0], WORDS, "got 0.0999.* to inf"),
        ([(np.array([0.1, 0.2]), np.array([3, 700]))], [0], WORDS, "expected x from 0 to 699, got x from 3 to 700"),
        ([(np.array([0.1, 0.2]), np.array([3]))], [0], WORDS, "as many spikes/units as spikes/times"),
        ([GOOD], [20], WORDS, "labels from 0 to 19"),
        ([GOOD], [0, 1], WORDS, "expected 1 labels, one for each recording, got 2"),
        ([GOOD], [0], ["zero", "one", "yes"], "Spiking Heidelberg Digits's words as extra/keys: .*, got 'yes'"),
        ([GOOD], [0], ["zero", "zero"], "got a name twice"),
        ([], [], WORDS, "at least one recording, got none"),
    ],
)
def test_a_file_of_other_values_is_refused_by_name(tmp_path, recordings, labels, keys, message):
    write_heidelberg(tmp_path)
    write_part(tmp_path / "shd_train.h5", recordings, labels, keys, form="whole")
    with pytest.raises(DataError, match=message) as caught:
        prepare("shd", Preparation(T=2), source=tmp_path, data_dir=tmp_path)
    assert "shd_train.h5" in str(caught.value)


def test_labels_that_are_no_numbers_are_refused_by_their_type(tmp_path):
    file = write_part(tmp_path / "shd_train.h5", [GOOD], [0], WORDS, form="whole")
    with h5py.File(file, "a") as root:
        del root["labels"]
        root["labels"] = np.array([b"zero"])
    write_part(tmp_path / "shd_test.h5", [GOOD], [0], WORDS, form="whole")
    with pytest.raises(DataError, match=r"expected whole labels from 0 to 19, .*, got \|S4"):
        prepare("shd", Preparation(T=2), source=tmp_path, data_dir=tmp_path)


def test_the_recipe_cuts_by_time_and_trains_and_predict_reads_the_sample_of_the_store(tmp_path, capsys):
    write_heidelberg(tmp_path / "given", train=8, test=3)
    places = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    given = ["--dataset", "shd", "--source", str(tmp_path / "given"), "--T", "3", "--epochs", "2", "--threads", "1"]
    assert run(["train", *given, *places]) == 0
    store = prepare("shd", preset("shd").preparation(3), data_dir=tmp_path / "data")
    assert store.path.name == "T3-time"
    settings = DatasetSettings(network="x", epochs=2, warmup_epochs=1, batch_size=1, split_by="time")
    file = tmp_path / "given" / "shd_test.h5"
    read = single_file.read(Path(f"{file}:2"), "shd", settings, T=3, shape=(1, 1, 700))
    assert np.array_equal(read.x[0], store.split("test").x[2])
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), f"{file}:0", f"{file}:2", "--json"]) == 0
    assert "shd_test.h5:2" in capsys.readouterr().out
    for wrong, got in ((file, "a file of 3 recordings"), (f"{file}:3", "number 3")):
        assert run(["predict", str(tmp_path / "run"), str(wrong)]) == 2
        assert re.search(rf"a number from 0 to 2, got {got}", capsys.readouterr().err)


def test_a_shift_never_empties_a_row_of_units(tmp_path):
    from bpsta_cli.data.augmentation import for_epoch

    x = np.ones((50, 2, 1, 1, 700), np.uint8)
    changed = for_epoch("standard", "events", 50, flip_safe=False, seed=0, epoch=0)(x, np.arange(50))
    assert changed.sum(axis=(1, 2, 3, 4)).min() >= 2 * 630
    assert len(set(changed.sum(axis=(1, 2, 3, 4)))) > 1
