"""Event recordings and sounds in a folder of the user's own."""

import numpy as np
import pytest
from data_files import write_gesture_npz
from folder_files import EVENTS, WRITERS, read, write_recordings, write_sounds

from bpsta_cli.config import Preparation
from bpsta_cli.data.store import open_store, store_path
from bpsta_cli.errors import DataError


def test_recordings_of_every_format_give_the_same_frames(tmp_path):
    hashes = set()
    for form in WRITERS:
        store = read(write_recordings(tmp_path / form), tmp_path / form)
        assert (store.shape, store.T, store.scale) == ((2, 5, 9), 2, 1.0)
        assert store.split("test").x.sum(axis=(2, 3, 4)).tolist() == [[15, 15]] * 2
        hashes.add(store.content_hash)
    assert len(hashes) == 1


def test_frames_are_as_large_as_the_events_of_all_recordings_take(tmp_path):
    source = write_recordings(tmp_path / "g")
    write_gesture_npz(source / "test" / "right" / "b.npz", [*EVENTS, (19, 11, 1, 400)])
    store = read(source, tmp_path)
    assert store.shape == (2, 12, 20)
    assert read(source, tmp_path, size=4).shape == (2, 4, 4)
    with pytest.raises(DataError, match="one of 1, 2, 4, got 3"):
        read(source, tmp_path, size=3)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(1, 1, 1, 5), (1, 1, 1, 4)], "time stamps in order"),
        ([(1, 1, 1, -5), (1, 1, 1, 4)], "time stamps of 0 or more"),
        ([(5000, 1, 1, 4)], "x from 0 to 2047, got x from 5000"),
        ([(-1, 1, 1, 4)], "x from 0 to 2047, got x from -1"),
        ([(1, 1, 2, 4)], "p from 0 to 1"),
        ([(1, 1, 1, 4)], "at least T = 2 events, got 1"),
        (np.zeros((0, 4), int), "an empty recording"),
        (np.zeros((3, 4)), "t as a row of whole numbers|x as a row of whole numbers"),
        (np.zeros((3, 5), int), r"fields t, x, y and p, or a table \[N, 4\]"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused_by_name(tmp_path, rows, message):
    source = write_recordings(tmp_path / "g", "table")
    file = source / "test" / "left" / "a.npy"
    np.save(file, np.array(rows))
    with pytest.raises(DataError, match=message) as caught:
        read(source, tmp_path)
    assert str(file) in str(caught.value)
    with pytest.raises(DataError):
        open_store(store_path(tmp_path / "data", "folder", Preparation(T=2), source=source))


def test_sounds_become_log_mel_features_along_the_whole_of_each(tmp_path):
    source = write_sounds(tmp_path / "words")
    store = read(source, tmp_path)
    assert store.split("train").x.shape == (4, 2, 1, 32, 16)
    assert (store.T, store.path.name, store.split("train").x.dtype) == (2, "T2", np.uint8)
    assert store.split("test").x[:, -1, 0, :, -4:].mean(axis=(1, 2)).min() > 50, (
        "the end of a short sound is no silence"
    )


def test_a_sound_too_short_for_its_steps_is_named(tmp_path):
    source = write_sounds(tmp_path / "words", seconds=(0.3, 0.003))
    with pytest.raises(DataError, match=r"1\.wav: expected T from 1 to 1"):
        read(source, tmp_path)
