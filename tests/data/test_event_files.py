import importlib
from urllib.error import URLError

import numpy as np
import pytest
from data_files import n_mnist_bytes, ramp, write_gesture_npz, write_gestures, write_n_mnist

from bpsta_cli.config import Preparation
from bpsta_cli.data.formats.event_files import read_n_mnist, read_npz, read_tonic_npy
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError


def test_five_bytes_are_x_y_polarity_and_23_bits_of_time(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes((3, 33, 0x81, 0x02, 0x03, 4, 5, 0x7F, 0xFF, 0xFF)))
    recording = read_n_mnist(tmp_path / "a.bin")
    assert [column.tolist() for column in recording] == [[0x010203, 0x7FFFFF], [3, 4], [33, 5], [1, 0]]


def test_a_row_of_240_moves_the_time_stamps_after_it_and_is_no_event(tmp_path):
    (tmp_path / "a.bin").write_bytes(n_mnist_bytes([(1, 1, 0, 8000), (0, 240, 0, 8191), (2, 2, 1, 10)]))
    recording = read_n_mnist(tmp_path / "a.bin")
    assert (recording.t.tolist(), recording.x.tolist()) == ([8000, 8202], [1, 2])


def test_the_reader_agrees_with_tonic(tmp_path):
    tonic_io = importlib.import_module("tonic.io")
    rows = ramp(50) + [(0, 240, 0, 0)] + [(x, y, p, t + 10_000) for x, y, p, t in ramp(50)]
    (tmp_path / "a.bin").write_bytes(n_mnist_bytes(rows))
    dtype = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
    theirs = tonic_io.read_mnist_file(str(tmp_path / "a.bin"), dtype)
    ours = read_n_mnist(tmp_path / "a.bin")
    for key in "xytp":
        np.testing.assert_array_equal(getattr(ours, key), theirs[key])


def test_n_mnist_frames_hold_every_event_in_the_order_of_the_file_names(tmp_path):
    write_n_mnist(tmp_path / "given" / "NMNIST")
    store = prepare("n-mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    train = store.split("train")
    assert (train.x.shape, train.x.dtype, train.y.tolist()) == ((4, 4, 2, 34, 34), np.uint8, [0, 1, 2, 3])
    assert train.x.sum(axis=(2, 3, 4)).tolist() == [
        [10] * 4,
        [10, 10, 10, 11],
        [10, 10, 10, 12],
        [10, 10, 10, 13],
    ]
    assert (store.T, store.shape, store.path.name) == (4, (2, 34, 34), "T4-number")


def test_frames_by_time_and_of_another_size_have_their_own_store(tmp_path):
    write_n_mnist(tmp_path / "given")
    store = prepare("n-mnist", Preparation(T=2, split_by="time", size=17), source=tmp_path / "given", data_dir=tmp_path)
    assert (store.path.name, store.shape) == ("T2-time-17", (2, 17, 17))
    assert store.split("test").x.sum() == 40 + 41


def test_the_sensors_own_size_is_the_default_store(tmp_path):
    write_n_mnist(tmp_path / "given")
    places = {"source": tmp_path / "given", "data_dir": tmp_path}
    own, stated = (prepare("n-mnist", Preparation(T=2, size=size), **places) for size in (None, 34))
    assert own.path == stated.path


def test_counts_beyond_the_first_recordings_widen_the_array(tmp_path):
    write_n_mnist(tmp_path / "given")
    last = tmp_path / "given" / "Train" / "3" / "00004.bin"
    last.write_bytes(n_mnist_bytes([(1, 2, 1, t) for t in range(700)]))
    store = prepare("n-mnist", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path)
    x = store.split("train").x
    assert (x.dtype, x[3].max(), x[0].sum(), store.split("test").x.dtype) == (np.uint16, 700, 40, np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (n_mnist_bytes(ramp(40))[:-2], "a multiple of 5 bytes, got 198 bytes"),
        (n_mnist_bytes(ramp(40)[::-1]), "time stamps in order"),
        (n_mnist_bytes([(34, 0, 0, 0)]), "x from 0 to 33"),
        (b"", "an empty recording"),
        (n_mnist_bytes(ramp(3)), "at least T = 4 events, got 3"),
    ],
)
def test_a_damaged_recording_stops_the_preparation_and_is_named(tmp_path, content, message):
    write_n_mnist(tmp_path / "given")
    bad = tmp_path / "given" / "Test" / "1" / "00002.bin"
    bad.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        prepare("n-mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    assert str(bad) in str(caught.value)
    assert [path.name for path in (tmp_path / "prepared" / "n-mnist").iterdir()] == [".T4-number.lock"]


@pytest.mark.parametrize("inner", [".", "events_np", "DVS128Gesture/events_np"])
def test_gestures_laid_by_spikingjelly_are_found(tmp_path, inner):
    write_gestures(tmp_path / "given" / inner)
    store = prepare("dvs-gesture", Preparation(T=3, size=64), source=tmp_path / "given", data_dir=tmp_path)
    assert store.split("train").x.shape == (11, 3, 2, 64, 64)
    assert store.split("test").y.tolist() == [0, 1, 10, 2, 3, 4, 5, 6, 7, 8, 9]
    assert store.split("test").x.sum(axis=(1, 2, 3, 4)).tolist() == [60, 61, 70, *range(62, 70)]


def test_gestures_laid_by_tonic_are_read_in_microseconds(tmp_path):
    for split in ("ibmGestureTrain", "ibmGestureTest"):
        for user in ("user01_led", "user02_lab"):
            (tmp_path / "DVSGesture" / split / user).mkdir(parents=True)
            np.save(tmp_path / "DVSGesture" / split / user / "7.npy", np.array(ramp(20, step=1)))
    file = tmp_path / "DVSGesture" / "ibmGestureTest" / "user01_led" / "7.npy"
    assert read_tonic_npy(file).t.tolist() == [1000 * ms for ms in range(20)]
    store = prepare("dvs-gesture", Preparation(T=2), source=tmp_path, data_dir=tmp_path)
    assert (store.split("train").y.tolist(), store.split("test").x.sum()) == ([7, 7], 40)


def test_a_copy_without_a_test_split_is_refused_with_what_is_missing(tmp_path):
    write_gestures(tmp_path / "given", splits=("train",))
    with pytest.raises(DataError, match="DVS128 Gesture has no test split here") as caught:
        prepare("dvs-gesture", Preparation(T=3), source=tmp_path / "given", data_dir=tmp_path)
    assert str(tmp_path / "given" / "test") in caught.value.expected


def test_a_stated_fraction_stands_in_for_a_missing_test_split(tmp_path):
    write_gestures(tmp_path / "given", splits=("train",))
    places = {"source": tmp_path / "given", "data_dir": tmp_path}
    store = prepare("dvs-gesture", Preparation(T=3, test_fraction=0.2), **places)
    train, test = store.split("train").y.tolist(), store.split("test").y.tolist()
    assert (len(train), len(test), sorted(train + test)) == (9, 2, list(range(11)))
    assert store.manifest.split.startswith("not official")
    assert store.path.name == "T3-number-holdout0.2"


@pytest.mark.parametrize("fraction", [0.01, 0.99])
def test_a_fraction_that_empties_a_split_is_refused(tmp_path, fraction):
    write_gestures(tmp_path / "given", splits=("train",))
    with pytest.raises(DataError, match="leaves both splits some of the 11"):
        prepare("dvs-gesture", Preparation(T=3, test_fraction=fraction), source=tmp_path / "given", data_dir=tmp_path)


def test_a_fraction_is_refused_where_the_official_test_split_is_there(tmp_path):
    write_gestures(tmp_path / "given")
    with pytest.raises(DataError, match="which brings a test split"):
        prepare("dvs-gesture", Preparation(T=3, test_fraction=0.2), source=tmp_path / "given", data_dir=tmp_path)


def test_an_unknown_label_is_refused(tmp_path):
    write_gesture_npz(write_gestures(tmp_path / "given") / "train" / "11" / "a.npz", ramp(9))
    with pytest.raises(DataError, match="from 0 to 10, got '11'"):
        prepare("dvs-gesture", Preparation(T=3), source=tmp_path / "given", data_dir=tmp_path)


def test_a_folder_without_recordings_is_answered_with_what_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"expected train/ or trials_to_train\.txt or ibmGestureTrain/"):
        prepare("dvs-gesture", Preparation(T=3), source=tmp_path, data_dir=tmp_path)


def test_an_archive_that_cannot_be_used_is_refused(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, t=[0], x=[0], y=[0])
    with pytest.raises(DataError, match="expected an array p, got t"):
        read_npz(file)
    np.savez(file, t=[0.5], x=[0], y=[0], p=[0])
    with pytest.raises(DataError, match="t as a row of whole numbers"):
        read_npz(file)
    np.save(tmp_path / "a.npy", np.zeros(3))
    no_archives = (file.read_bytes()[:-40], b"", b"<html>", (tmp_path / "a.npy").read_bytes())
    for content in no_archives:
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"an \.npz archive") as caught:
            read_npz(file)
        assert str(file) in str(caught.value)


def test_an_array_that_cannot_be_used_is_refused(tmp_path):
    file = tmp_path / "1.npy"
    np.save(file, np.zeros((3, 3)))
    with pytest.raises(DataError, match=r"numbers \[N, 4\]"):
        read_tonic_npy(file)
    file.write_bytes(b"")
    with pytest.raises(DataError, match=r"an \.npy array"):
        read_tonic_npy(file)


@pytest.mark.parametrize(("name", "library_class"), [("n-mnist", "NMNIST"), ("dvs-gesture", "DVSGesture")])
def test_a_failed_download_of_events_says_where_a_copy_belongs(tmp_path, monkeypatch, name, library_class):
    def fail(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr(importlib.import_module("tonic.datasets"), library_class, fail)
    with pytest.raises(DataError, match="no route to host") as caught:
        prepare(name, Preparation(T=1), data_dir=tmp_path)
    assert str(tmp_path / "raw" / library_class) in "".join(caught.value.__notes__)


def test_events_are_downloaded_split_by_split(tmp_path, monkeypatch):
    asked = []

    def fetch(save_to, *, train):
        asked.append(train)
        write_n_mnist(tmp_path / "raw" / "NMNIST")

    monkeypatch.setattr(importlib.import_module("tonic.datasets"), "NMNIST", fetch)
    assert len(prepare("n-mnist", Preparation(T=2), data_dir=tmp_path).split("train")) == 4
    assert asked == [True, False]


@pytest.mark.parametrize(
    "wrong", [{"T": 0}, {"size": 0}, {"split_by": "luck"}, {"resize": "luck"}, {"test_fraction": -1.0}, {"t": 2}]
)
def test_a_preparation_of_unknown_or_unusable_values_cannot_be_written_down(wrong):
    with pytest.raises(ValueError, match="1 validation error for Preparation") as caught:
        Preparation(**wrong)
    assert str(caught.value).splitlines()[1] in wrong


@pytest.mark.parametrize("wrong", [{}, {"T": 2, "size": 5}])
def test_a_preparation_that_does_not_fit_is_refused_before_any_file_is_touched(tmp_path, wrong):
    with pytest.raises(DataError):
        prepare("n-mnist", Preparation(**wrong), data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_frame_size_is_refused_for_images(tmp_path):
    with pytest.raises(DataError, match="holds images"):
        prepare("mnist", Preparation(T=2, size=14), data_dir=tmp_path)
