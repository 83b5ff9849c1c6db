"""Series of the user's own in a table for each part."""

import numpy as np
import pytest
from folder_files import read, write_series

from bpsta_cli.cli.main import run
from bpsta_cli.data.datasets.series_tables import read as read_table
from bpsta_cli.data.formats.series import steps
from bpsta_cli.data.presets import preset
from bpsta_cli.errors import DataError

SERIES = np.random.default_rng(0).normal(size=(6, 8))
LABELS = ["10", "9", "9", "10", "9", "10"]


def write_csv(file, x=SERIES, labels=LABELS):
    file.parent.mkdir(exist_ok=True)
    lines = ["class,t0,t1"] + [
        f"{label}, {', '.join(map(repr, row.tolist()))}" for label, row in zip(labels, x, strict=True)
    ]
    file.write_text("\n".join(lines), encoding="utf-8")
    return file.parent


def write_npz(file, x=SERIES, labels=LABELS):
    file.parent.mkdir(exist_ok=True)
    np.savez(file, x=x, y=np.array(labels))
    return file.parent


def test_a_line_is_a_series_with_its_class_in_either_form(tmp_path):
    for form, write in (("csv", write_csv), ("npz", write_npz)):
        write(tmp_path / form / f"train.{form}")
        write(tmp_path / form / f"test.{form}", SERIES[:2], LABELS[:2])
    stores = [read(tmp_path / form, tmp_path) for form in ("csv", "npz")]
    assert stores[0].content_hash == stores[1].content_hash
    assert (stores[0].classes, stores[0].kind, stores[0].split_description) == (
        ("9", "10"),
        "series",
        "csv: its train and test tables",
    )
    assert stores[0].split("train").y.tolist() == [1, 0, 0, 1, 0, 1]
    expected = [steps(row[:, None], 2, "x").tolist() for row in SERIES]
    assert stores[0].split("train").x.tolist() == expected
    assert stores[0].split("test").x.tolist() == expected[:2]


def test_a_label_in_quotes_may_hold_a_comma(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "train.csv").write_text('"left, slow",1,2\n"said ""up""",3,4\n"left, slow",5,6\n')
    table = read_table(tmp_path / "mine" / "train.csv")
    assert table.labels == ("left, slow", 'said "up"', "left, slow")
    assert table.x[:, :, 0].tolist() == [[1, 2], [3, 4], [5, 6]]


def test_series_of_several_channels_and_whole_numbers_as_classes_are_read_from_an_archive(tmp_path):
    x = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    source = write_npz(tmp_path / "mine" / "train.npz", x, [int(label) for label in LABELS])
    store = read(source, tmp_path, test_fraction=0.34)
    assert (store.shape, [len(store.split(part)) for part in ("train", "test")]) == ((1, 3, 1), [4, 2])
    assert sorted(store.split("test").y.tolist()) == [0, 1]


def test_a_changed_table_is_read_again(tmp_path):
    source = write_npz(tmp_path / "mine" / "train.npz")
    first = read(source, tmp_path, test_fraction=0.34)
    write_npz(tmp_path / "mine" / "train.npz", SERIES + 1.5 * np.arange(8))
    assert read(source, tmp_path, test_fraction=0.34).content_hash != first.content_hash


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda at: write_csv(at / "test.csv", SERIES[:1], ["8"]), "expected the classes of train.npz, got '8'"),
        (lambda at: write_npz(at / "test.npz", np.zeros((1, 8, 2)), ["9"]), "expected 1 channels, as train.npz, got 2"),
        (lambda at: write_npz(at / "test.npz", SERIES[:2], ["9"]), "y as 2 whole numbers or texts"),
        (lambda at: write_npz(at / "test.npz", SERIES[:1], [0.5]), "y as 1 whole numbers or texts, got float64"),
        (lambda at: write_npz(at / "test.npz", SERIES[0], LABELS), "x .samples, time, channels., got float64"),
        (lambda at: write_npz(at / "test.npz", SERIES * np.nan), "got nan at moment 0, channel 0 .from 0. of sample 0"),
        (
            lambda at: write_npz(at / "test.npz", SERIES[:, :1]),
            "npz, recording 0: expected at least T = 2 moments",
        ),
        (lambda at: np.savez(at / "test.npz", x=SERIES), "expected an array y, got x.npy"),
        (lambda at: (at / "test.csv").write_text("9,1,2\n9,1"), "expected 2 numbers in each line, got 1 in line 2"),
        (lambda at: (at / "test.csv").write_text(",1,2\n"), "a class for each series, got none of sample 0"),
        (lambda at: (at / "test.csv").write_text("9\n"), "at least one moment"),
        (lambda at: (at / "test.csv").write_bytes(b""), "at least one moment"),
        (lambda at: write_csv(at / "train.csv"), "two tables for one part in .*, got train.npz and train.csv"),
        (lambda at: write_npz(at / "train.npz", labels=["9"] * 6), "series of two or more classes, got 1"),
        (lambda at: None, "has no test split: expected a table test.npz or test.csv"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path, write, message):
    source = write_npz(tmp_path / "mine" / "train.npz")
    write(source)
    with pytest.raises(DataError, match=message):
        read(source, tmp_path)


def test_a_table_beside_folders_is_no_data(tmp_path):
    source = write_series(tmp_path / "mine")
    (source / "train.csv").write_text("file,class\n0.csv,rest\n")
    assert len(read(source, tmp_path).split("train")) == 4


def test_it_trains_and_a_single_series_is_decided(tmp_path, capsys):
    source = write_csv(tmp_path / "mine" / "train.csv")
    assert preset("folder", source=str(source)).network == "128FC-64FC-10Voting"
    given = ["--dataset", "folder", "--source", str(source), "--test-fraction", "0.34", "--T", "2", "--epochs", "2"]
    places = ["--data-dir", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--threads", "1"]
    assert run(["train", *given, *places]) == 0
    np.savetxt(tmp_path / "one.csv", SERIES[0])
    capsys.readouterr()
    assert run(["predict", str(tmp_path / "run"), str(tmp_path / "one.csv")]) == 0
    assert "one.csv" in capsys.readouterr().out
