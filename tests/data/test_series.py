"""Series of the user's own, as .npz and .csv."""

import numpy as np
import pytest
from folder_files import read, write_recordings, write_series

from bpsta_cli.cli.main import run
from bpsta_cli.data.augmentation import for_epoch
from bpsta_cli.data.formats.series import read_series, steps
from bpsta_cli.data.presets import preset
from bpsta_cli.errors import DataError


def test_both_formats_give_the_same_steps(tmp_path):
    stores = [read(write_series(tmp_path / form, form), tmp_path) for form in (".csv", ".npz")]
    assert stores[0].content_hash == stores[1].content_hash
    train = stores[0].split("train")
    assert (train.x.shape, train.x.dtype, train.y.tolist()) == ((4, 2, 1, 3, 1), np.uint8, [0, 0, 1, 1])
    assert (stores[0].kind, stores[0].scale, stores[0].path.name) == ("series", 1 / 255, "T2")


def test_a_step_is_the_mean_of_its_part_of_the_standardised_channel():
    series = np.array([[0.0, 5], [0, 5], [4, 5], [4, 5], [8, 5]])
    away = (series[:, 0] - 3.2) / np.sqrt(np.mean((series[:, 0] - 3.2) ** 2))
    found = steps(series, 2, "x")
    assert found[:, 0, 0, 0].tolist() == [
        round(127.5 + 255 / 8 * away[part].mean()) for part in (slice(2), slice(2, 5))
    ]
    assert found[:, 0, 1, 0].tolist() == [128, 128], "a channel that stays the same is at its mean"


def test_neither_unit_nor_level_of_a_channel_matters():
    series = np.random.default_rng(0).normal(size=(50, 2))
    others = [series * (1e-6, 2e6) + (3, -1e6), series * 1e300, series * 1e-300]
    assert all(np.array_equal(steps(other, 7, "x"), steps(series, 7, "x")) for other in others)


def test_bytes_are_taken_as_they_are(tmp_path):
    np.savez(tmp_path / "a.npz", np.array([[0, 255], [9, 255], [30, 0], [30, 1]], np.uint8))
    assert steps(read_series(tmp_path / "a.npz"), 2, "x")[:, 0, :, 0].tolist() == [[4, 255], [30, 0]]


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", lambda file: file.write_text("1.5,2\n\n3,4e0\n")),
        ("a.csv", lambda file: file.write_text("\ufefftime,value\r\n1.5, 2\r\n3,4\r\n", encoding="utf-8")),
        ("a.CSV", lambda file: file.write_text(",value\n1.5,2\n3,4\n")),
        ("a.csv", lambda file: file.write_text('"time, in s","value"\n"1.5","2"\n3,4\n')),
        ("a.npz", lambda file: np.savez(file, x=[[1.5, 2], [3, 4]], t=[0, 1])),
        ("a.npz", lambda file: np.savez_compressed(file, anything=np.array([[1.5, 2], [3, 4]], np.float16))),
    ],
)
def test_what_is_read(tmp_path, name, write):
    write(tmp_path / name)
    assert read_series(tmp_path / name).tolist() == [[1.5, 2], [3, 4]]


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("a.csv", lambda file: file.write_text("1,2\n3,four\n"), "expected numbers with .*, got 'four' in line 2"),
        ("a.csv", lambda file: file.write_text("1,two\n3,4\n"), "got 'two' in line 1"),
        ("a.csv", lambda file: file.write_text("1,2\n3\n"), "expected 2 numbers in each line, got 1 in line 2"),
        ("a.csv", lambda file: file.write_text("1,2\n3,\n"), "got '' in line 2"),
        ("a.csv", lambda file: file.write_text("1,2\n3,4_0\n"), "got '4_0' in line 2"),
        ("a.csv", lambda file: file.write_text('1,2\n3,"4\n'), "numbers with .*, got unexpected end of data in line 2"),
        ("a.csv", lambda file: file.write_text("1;2\n3;4\n"), "got '3;4' in line 2"),
        (
            "a.csv",
            lambda file: file.write_text("1,2\n3,nan\n"),
            "finite numbers, got nan at moment 1, channel 1",
        ),
        ("a.csv", lambda file: file.write_text("time,value\n"), "at least one moment of one channel, got 0 x 1"),
        ("a.csv", lambda file: file.write_bytes(b""), "at least one moment of one channel, got 0 x 1"),
        ("a.csv", lambda file: file.write_bytes(b"\xff\xfe1\x00"), "text in UTF-8"),
        ("a.npz", lambda file: np.savez(file, x=[1.0, np.inf]), "got inf at moment 1, channel 0"),
        ("a.npz", lambda file: np.savez(file, x=np.zeros((2, 3, 4))), r"got float64 \(2, 3, 4\)"),
        ("a.npz", lambda file: np.savez(file, x=["a"]), "got <U1"),
        ("a.npz", lambda file: np.savez(file, x=np.zeros((0, 3))), "got 0 x 3"),
        ("a.npz", lambda file: np.savez(file, a=[1], b=[2]), "called x, or one alone, got arrays a, b"),
        ("a.npz", lambda file: np.savez(file, t=[1], x=[1], y=[1], p=[1]), "got arrays t, x, y, p"),
        ("a.npz", lambda file: file.write_bytes(b"PK"), r"an \.npz archive"),
        ("a.npz", lambda file: np.savez(file, x=[[1.0, 2]]), "at least T = 2 moments, got 1"),
        ("a.npz", lambda file: np.savez(file, x=np.ones((5, 4))), "expected 3 channels, as 0.npz, got 4"),
    ],
)
def test_a_series_that_cannot_be_used_is_refused_by_name(tmp_path, name, write, message):
    source = write_series(tmp_path / "mine", name[1:])
    write(source / "test" / "walk" / name)
    with pytest.raises(DataError, match=message) as caught:
        read(source, tmp_path)
    assert str(source / "test" / "walk" / name) in str(caught.value)


def test_an_archive_is_told_from_a_recording_by_its_arrays(tmp_path):
    write_series(tmp_path / "series", ".npz")
    write_recordings(tmp_path / "events", "npz")
    assert preset("folder", source=str(tmp_path / "series")).network == "128FC-64FC-10Voting"
    assert preset("folder", source=str(tmp_path / "events")).batch_size == 16
    (tmp_path / "series" / "test" / "walk" / "a.wav").write_bytes(b"")
    with pytest.raises(DataError, match="files of one kind in all classes"):
        preset("folder", source=str(tmp_path / "series"))


def test_a_size_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds series: expected no frame size"):
        read(write_series(tmp_path / "mine"), tmp_path, size=2)


def test_a_shift_moves_all_channels_in_time_and_brings_their_mean():
    x = np.arange(1, 41, dtype=np.uint8).reshape(1, 20, 1, 2, 1).repeat(30, axis=0)
    changed = for_epoch("standard", "series", 30, flip_safe=False, seed=0, epoch=0)(x, np.arange(30))
    seen = set()
    for sample in changed[..., 0, :, 0]:
        moved = int(np.argmax(sample[:, 0] == 21)) - 10
        seen.add(moved)
        expected = np.full((20, 2), 128)
        expected[max(moved, 0) : 20 + min(moved, 0)] = x[0, max(-moved, 0) : 20 - max(moved, 0), 0, :, 0]
        assert sample.tolist() == expected.tolist()
    assert seen == {-2, -1, 0, 1, 2}


def test_the_recipe_trains_on_series_that_differ_in_their_course_alone(tmp_path, capsys):
    random = np.random.default_rng(0)
    time = np.linspace(0, 1, 60)
    for label, course in (("falls", 1 - time), ("rises", time)):
        (tmp_path / "mine" / label).mkdir(parents=True)
        for number in range(20):
            values = np.stack([course, random.normal(size=60)], axis=1) + random.normal(0, 0.1, (60, 2))
            np.savetxt(tmp_path / "mine" / label / f"{number}.csv", values, delimiter=",")
    given = ["--dataset", "folder", "--source", str(tmp_path / "mine"), "--test-fraction", "0.25", "--T", "6"]
    places = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--threads", "1"]
    assert run(["train", *given, *places, "--epochs", "12", "--batch-size", "10"]) == 0
    assert "test accuracy 100" in capsys.readouterr().out
