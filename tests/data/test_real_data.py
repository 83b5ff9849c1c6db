"""Checks on real files, laid out under the folder that BPSTA_REAL_DATA names."""

import os
from pathlib import Path

import numpy as np
import pytest

from bpsta_cli.config import Preparation
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

REAL = os.environ.get("BPSTA_REAL_DATA", "")
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not REAL, reason="BPSTA_REAL_DATA names no folder"),
]


def real(name):
    folder = Path(REAL) / name
    if not folder.is_dir():
        pytest.skip(f"no {name} in BPSTA_REAL_DATA")
    return folder


def test_mnist_has_its_published_class_counts(tmp_path):
    store = prepare("mnist", Preparation(T=4), source=real("MNIST"), data_dir=tmp_path)
    assert store.manifest.partial is None
    assert np.bincount(store.split("test").y).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]


def test_n_mnist_recordings_hold_as_many_events_as_their_files(tmp_path):
    source = real("NMNIST")
    store = prepare("n-mnist", Preparation(T=8), source=source, data_dir=tmp_path)
    expected = [file.stat().st_size // 5 for file in sorted(source.glob("Test/*/*.bin"))]
    assert store.split("test").x.sum(axis=(1, 2, 3, 4)).tolist() == expected


def test_gestures_keep_every_event_at_half_the_size(tmp_path):
    source = real("DVS128Gesture")
    store = prepare("dvs-gesture", Preparation(T=16, size=64, test_fraction=0.2), source=source, data_dir=tmp_path)
    counted = sum(int(store.split(split).x.sum()) for split in ("train", "test"))
    assert counted == sum(len(np.load(file)["t"]) for file in source.glob("events_np/train/*/*.npz"))


def test_speech_commands_are_split_by_their_lists_and_evened_out(tmp_path):
    source = real("SpeechCommands")
    store = prepare("speech-commands", Preparation(T=8), source=source, data_dir=tmp_path)
    for split, name in (("test", "testing_list.txt"), ("validation", "validation_list.txt")):
        (listed,) = source.glob(f"*/{name}")
        words = [line.split("/")[0] for line in listed.read_text().split()]
        assert sorted(store.classes[label] for label in store.split(split).y) == sorted(words)
    train = store.split("train")
    assert sum(split.distinct for split in map(store.split, ("train", "test", "validation"))) == len(
        [file for file in source.glob("*/*/*.wav") if file.parent.name in store.classes]
    )
    assert len(set(np.bincount(train.y))) == 1
    assert store.split("test").x.max() == 255


def test_a_recompressed_cifar10_is_a_folder_and_never_called_cifar10(tmp_path):
    source = real("cifar10-jpeg")
    store = prepare("folder", Preparation(T=4), source=source, data_dir=tmp_path)
    train, test = store.split("train"), store.split("test")
    assert (train.x.shape, test.x.shape, store.dataset) == ((50_000, 3, 32, 32), (10_000, 3, 32, 32), "folder")
    assert np.bincount(train.y).tolist() == [5000] * 10
    assert store.split_description == "cifar10-jpeg: its train/ and test/ folders"
    with pytest.raises(DataError, match=r"no original pixels.*--dataset folder"):
        prepare("cifar10", Preparation(T=4), source=source, data_dir=tmp_path)


def test_spoken_digits_have_full_range_and_are_the_arrays_of_a_folder_laid_out_by_class(tmp_path):
    for file in real("FSDD").glob("recordings/*.wav"):
        digit, _, index = file.stem.split("_")
        folder = tmp_path / "fsdd" / ("test" if int(index) < 5 else "train") / digit  # its official split
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file.name).symlink_to(file)
    store = prepare("folder", Preparation(T=4), source=tmp_path / "fsdd", data_dir=tmp_path)
    assert (len(store.split("train")), len(store.split("test")), len(store.classes)) == (2700, 300, 10)
    assert store.split("train").x[:].max(axis=(1, 2, 3, 4)).min() == 255
    named = prepare("fsdd", Preparation(T=4), source=real("FSDD"), data_dir=tmp_path)
    assert named.manifest.arrays == store.manifest.arrays
    assert named.manifest.partial is None


def test_a_tree_of_cifar10s_pixels_is_as_the_folder_of_its_images(tmp_path):
    source = real("cifar10")
    store = prepare("cifar10", Preparation(T=4), source=source, data_dir=tmp_path)
    assert (
        store.manifest.arrays == prepare("folder", Preparation(T=4), source=source, data_dir=tmp_path).manifest.arrays
    )
    counts = (len(store.split("train")), len(store.split("test")))
    assert store.manifest.partial == f"{counts[0]:,} of 50,000 training and {counts[1]:,} of 10,000 test samples"
