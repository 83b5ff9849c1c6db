import dataclasses
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bpsta_cli.cli.main import run
from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.datasets import synthetic_gestures as gestures
from bpsta_cli.data.datasets import synthetic_words as words
from bpsta_cli.data.datasets.synthetic import SPEAKERS, synthetic_gestures, synthetic_speech, waveform
from bpsta_cli.data.encoding import check_events, shrink, split_by_number
from bpsta_cli.data.formats.audio import log_mel
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

GESTURES, SPEECH = catalogue.get("synthetic-gestures"), catalogue.get("synthetic-speech")
LOADERS = {"synthetic-gestures": synthetic_gestures, "synthetic-speech": synthetic_speech}
TRIED, TRAINED = 128, 88
CHANCE = pytest.approx(0.5, abs=3 * 0.5 / (TRIED - TRAINED) ** 0.5)
"""Within three standard deviations of a coin's share in the samples that are guessed."""
EVENTS_SHA256 = "5e31179aee1b8a643a412b6302080d56a9dcd17a95810ec7dae902f43c33d147"
SOUND_SHA256 = "86ab7d11d46dca961f0812cd3c9c09018a28a9a3329c01ab3d32b9b4c8bfc78d"
FEATURES_SHA256 = "3782eef7ee52956431476042b61875418c8d45ab8c73945ba78af0ad4176a9be"


def digest(arrays):
    return sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def recording(label, number=0):
    return gestures.record(label, np.random.RandomState([label, number]))


@pytest.fixture(scope="module")
def one_of_each():
    split = synthetic_gestures(GESTURES, None, Path()).read("train")
    return [split.read(name) for name in split.items[:11]]


@pytest.fixture
def few(monkeypatch):
    for row in (GESTURES, SPEECH):
        monkeypatch.setitem(catalogue._rows(), row.name, dataclasses.replace(row, counts=(22, 11)))


def test_the_first_recording_of_each_class_is_the_same_byte_for_byte_on_every_machine(one_of_each):
    assert digest(column.astype("<i8") for events in one_of_each for column in events) == EVENTS_SHA256


def test_the_first_clip_of_each_word_is_the_same_byte_for_byte_on_every_machine():
    sounds = [waveform(f"train/{index}") for index in range(10)]
    assert digest(sound.astype("<i2") for sound in sounds) == SOUND_SHA256
    assert digest(log_mel(sound / 32768, words.RATE, T=8) for sound in sounds) == FEATURES_SHA256


def test_no_cosine_of_the_table_can_be_rounded_another_way():
    exact = gestures.ONE * np.cos(2 * np.pi * np.arange(gestures.TURN) / gestures.TURN)
    assert np.abs(exact % 1 - 0.5).min() > 1e-4
    np.testing.assert_array_equal(gestures.COSINE[1:], gestures.COSINE[:0:-1])


def test_recordings_hold_events_of_both_polarities_in_order_over_a_second_and_a_half(one_of_each):
    for label, events in enumerate(one_of_each):
        check_events(events, (2, 128, 128), f"class {label}")
        assert 2000 < len(events.t) < 200_000
        assert 1_400_000 < events.t[-1] - events.t[0] < 1_500_000
        assert 0.4 < events.p.mean() < 0.6


def test_a_hand_covers_the_pixels_whose_middles_lie_in_its_ellipse():
    x, y, wide, tall = (np.array([value]) for value in (1000, 700, 150, 90))
    rows, columns = np.indices((128, 128)) * 16 + 8
    inside = ((columns - 1000) / 150) ** 2 + ((rows - 700) / 90) ** 2 <= 1
    covered = gestures._covered(gestures.Hand(x, y, wide, tall))[0]
    assert np.abs(covered.sum() - inside.sum()) <= 40, "rounded to 1/16 pixel at its edge"
    assert not (covered & ~inside).any()
    assert covered.sum() > 150


@pytest.fixture(scope="module")
def circles():
    """Frames [N, 8, 32, 32] of both arms' circles, polarities added up, and their labels 3 to 6."""
    labels = np.tile([3, 4, 5, 6], TRIED // 4)
    frames = [
        shrink(split_by_number(recording(label, number), T=8, shape=(2, 128, 128)), 32)
        for number, label in enumerate(labels)
    ]
    return np.array(frames, dtype=np.int64).sum(axis=2), labels


def fitted(x, y):
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    return model.fit(x[:TRAINED].reshape(TRAINED, -1), y[:TRAINED]).predict(x[TRAINED:].reshape(TRIED - TRAINED, -1))


def test_frames_summed_over_time_tell_the_arm_and_not_the_direction(circles):
    frames, labels = circles
    summed = shrink(frames.sum(axis=1), 8)
    guessed, true = fitted(summed, labels), labels[TRAINED:]
    assert np.mean((guessed - 3) // 2 == (true - 3) // 2) > 0.95, "left or right arm"
    assert np.mean(guessed == true) == CHANCE


def test_a_frame_without_its_place_in_the_row_does_not_tell_the_direction_either(circles):
    frames, labels = circles
    any_one = frames[np.arange(TRIED), np.random.RandomState(0).randint(8, size=TRIED)]
    assert np.mean(fitted(shrink(any_one, 8), labels % 2) == labels[TRAINED:] % 2) == CHANCE


def test_the_order_of_the_frames_tells_the_direction(circles):
    frames, labels = circles
    mass = np.maximum(frames - 1, 0)  # most noise stands alone at its pixel
    axis = np.arange(32)
    x, y = (np.einsum(f"nthw,{name}->nt", mass, axis) / mass.sum(axis=(2, 3)) for name in "wh")
    dx, dy = np.diff(x), np.diff(y)
    turning = (dx[:, :-1] * dy[:, 1:] - dy[:, :-1] * dx[:, 1:]).sum(axis=1)
    assert np.mean((turning > 0) == (labels % 2 == 1)) > 0.95


@pytest.mark.parametrize(("label", "mirrored"), gestures.MIRRORED)
def test_a_motion_run_backwards_is_its_partner(label, mirrored):
    scene = gestures.Scene(np.random.RandomState(3))
    scene.once = lambda: turned
    turned = np.arange(gestures.STEPS + 1) * gestures.TURN // gestures.STEPS
    (forth,) = gestures.MOTIONS[label](scene)
    (back,) = gestures.MOTIONS[mirrored](scene)
    for there, again in zip(forth, back, strict=True):
        np.testing.assert_allclose(there, again[::-1], atol=6)
    assert np.abs(forth.x - back.x).max() + np.abs(forth.y - back.y).max() > 300


def test_what_happens_once_is_a_whole_turn_between_two_rests():
    for seed in range(20):
        angle = gestures.Scene(np.random.RandomState(seed)).once()
        assert angle[-1] - angle[0] == gestures.TURN
        assert np.diff(angle).min() >= 0
        assert abs(angle[0]) <= gestures.TURN // 12


@pytest.mark.parametrize("pair", words.REVERSED)
def test_a_word_backwards_has_the_formants_of_its_partner_backwards(pair):
    first, second = (words._course(words.WORDS[label], 92) for label in pair)
    np.testing.assert_array_equal(first, second[::-1])
    assert np.abs(first - second).max() > 500


def test_spectra_summed_over_time_do_not_tell_a_word_from_itself_backwards_and_their_order_does():
    labels = np.tile([0, 1], TRIED // 2)
    streams = [(np.random.RandomState([5, number]), np.random.RandomState([6, number])) for number in range(TRIED)]
    sounds = [words.speak(label, *each) for label, each in zip(labels, streams, strict=True)]
    features = np.array([log_mel(sound / 32768, words.RATE, T=4) for sound in sounds], dtype=np.int64)[:, :, 0]
    guessed = fitted(features.sum(axis=(1, 3)), labels)
    assert np.mean(guessed == labels[TRAINED:]) == CHANCE
    assert np.mean(fitted(features.sum(axis=3), labels) == labels[TRAINED:]) > 0.8


def test_nobody_speaks_in_both_splits(monkeypatch):
    assert not set(SPEAKERS["train"]) & set(SPEAKERS["test"])
    clip = "test/0"
    before = waveform(clip)
    monkeypatch.setitem(SPEAKERS, "train", range(60, 61))
    np.testing.assert_array_equal(waveform(clip), before)
    monkeypatch.setitem(SPEAKERS, "test", range(60, 61))
    assert not np.array_equal(waveform(clip), before)


def test_gestures_go_through_the_encoding_of_events(tmp_path, few):
    frames = prepare("synthetic-gestures", Preparation(T=5, split_by="time", size=16), data_dir=tmp_path)
    assert frames.path.name == "T5-time-16"
    train = frames.split("train")
    assert (train.x.shape, np.bincount(train.y).tolist()) == ((22, 5, 2, 16, 16), [2] * 11)
    whole = prepare("synthetic-gestures", Preparation(T=2), data_dir=tmp_path).split("test").x
    assert whole.shape == (11, 2, 2, 128, 128)
    assert whole.sum() == frames.split("test").x.sum()


@pytest.mark.parametrize("name", LOADERS)
def test_preparing_twice_gives_the_same_and_preparing_again_nothing_new(tmp_path, few, name):
    store = prepare(name, Preparation(T=3), data_dir=tmp_path)
    assert store.content_hash == prepare(name, Preparation(T=3), data_dir=tmp_path / "other").content_hash
    assert prepare(name, Preparation(T=3), data_dir=tmp_path).path.stat().st_ino == store.path.stat().st_ino


@pytest.mark.parametrize("name", LOADERS)
def test_a_source_is_refused(tmp_path, name):
    with pytest.raises(DataError, match=f"{name} needs no source"):
        prepare(name, Preparation(T=3), source=tmp_path, data_dir=tmp_path)


def test_the_words_of_the_catalogue_are_those_that_are_spoken():
    assert SPEECH.classes == words.WORDS
    assert all(SPEECH.classes[first] == SPEECH.classes[second][::-1] for first, second in words.REVERSED)


def test_the_commands_say_that_the_data_are_synthetic(tmp_path, few, capsys):
    disclosure = "synthetic-speech is synthetic: simulated, not recorded"
    data = ["--data-dir", str(tmp_path)]
    shared = ["--dataset", "synthetic-speech", "--T", "2"]
    assert run(["prepare", *shared, *data]) == 0
    assert disclosure in capsys.readouterr().out
    short = ["--epochs", "1", "--warmup-epochs", "0", "--network", "2C3-AP8-10Voting", "--out", str(tmp_path / "run")]
    assert run(["train", *shared, *data, *short]) == 0
    assert disclosure in capsys.readouterr().out
    assert run(["eval", str(tmp_path / "run"), *data]) == 0
    assert disclosure in capsys.readouterr().out
