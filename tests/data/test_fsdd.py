import shutil

import numpy as np
import pytest
from data_files import write_wav

from bpsta_cli.cli.main import run
from bpsta_cli.config import DatasetSettings, Preparation
from bpsta_cli.data import single_file
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

INDICES = (0, 4, 5, 10, 49)


def sound(seed):
    return np.random.default_rng(seed).integers(-3000, 3000, 400 + seed)


def write_digits(folder):
    """Five recordings of each digit, of different lengths; the first two of them test."""
    for digit in range(10):
        for index in INDICES:
            write_wav(folder / f"{digit}_theo_{index}.wav", sound(50 * digit + index), rate=8000)
    return folder


def prepared(source, tmp_path, T=2):
    return prepare("fsdd", Preparation(T=T), source=source, data_dir=tmp_path / "data")


@pytest.mark.parametrize("inner", [".", "recordings"])
def test_recordings_0_to_4_test_and_the_others_train_digit_by_digit(tmp_path, inner):
    write_digits(tmp_path / "given" / inner)
    store = prepared(tmp_path / "given", tmp_path)
    assert store.split("test").y.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert store.split("train").y.tolist() == [digit for digit in range(10) for _ in range(3)]
    assert (store.shape, store.T, store.classes[9]) == ((1, 32, 16), 2, "9")
    assert store.manifest.partial == "30 of 2,700 training and 20 of 300 test samples"


def test_its_arrays_are_those_of_a_folder_laid_out_by_class(tmp_path):
    given = write_digits(tmp_path / "given")
    for file in given.iterdir():
        split = "test" if file.stem.rsplit("_", 1)[1] in ("0", "4") else "train"
        (tmp_path / "mine" / split / file.name[0]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "mine" / split / file.name[0])
    folder = prepare("folder", Preparation(T=2), source=tmp_path / "mine", data_dir=tmp_path / "data")
    assert prepared(given, tmp_path).manifest.arrays == folder.manifest.arrays


def test_a_single_recording_is_read_as_the_sample_of_the_store(tmp_path):
    given = write_digits(tmp_path / "given")
    settings = DatasetSettings(network="10Voting", epochs=1, warmup_epochs=0, batch_size=1)
    read = single_file.read(given / "3_theo_4.wav", "fsdd", settings, T=2, shape=(1, 32, 16))
    np.testing.assert_array_equal(read.x[0], prepared(given, tmp_path).split("test").x[7])


def test_a_copy_under_raw_is_found_without_source(tmp_path):
    write_digits(tmp_path / "data" / "raw" / "FSDD" / "recordings")
    assert len(prepared(None, tmp_path).split("test")) == 20


def drop(pattern):
    def damage(folder):
        for file in folder.glob(pattern):
            file.unlink()

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: write_wav(folder / "3_theo_50.wav", sound(1), rate=8000), "an index from 0 to 49.*3_theo_50"),
        (
            lambda folder: write_wav(folder / "3_me_5.wav", sound(1), rate=8000),
            "none of the Free.*yweweler, got .*3_me_5",
        ),
        (lambda folder: write_wav(folder / "3_theo_6.wav", sound(1)), "3_theo_6.wav: expected 8,000 Hz, got 16,000 Hz"),
        (lambda folder: write_wav(folder / "3_theo_6.wav", [1] * 9, rate=8000), "3_theo_6.wav: expected T from 1 to 0"),
        (lambda folder: (folder / "3_theo_6.wav").write_text("<html>"), "3_theo_6.wav: expected a WAV file"),
        (drop("*_[04].wav"), "no test recordings of the digit 0 .*got none of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (drop("7_*"), "no train recordings of the digit 7 .*5 to 49 train.*got none of 7"),
        (drop("*"), "no Free Spoken Digit Dataset files in the source folder.*prepare --list fsdd"),
    ],
)
def test_a_copy_that_cannot_be_used_is_refused_in_a_line(tmp_path, damage, message):
    given = write_digits(tmp_path / "given")
    damage(given)
    with pytest.raises(DataError, match=message):
        prepared(given, tmp_path)


def test_what_is_not_downloaded_says_so(tmp_path, capsys):
    assert run(["prepare", "--dataset", "fsdd", "--T", "2", "--data-dir", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "name its folder with --source" in told
    assert "leave --source out" not in told
    assert run(["prepare", "--list", "fsdd", "--data-dir", str(tmp_path)]) == 0
    assert "10.5281/zenodo.1342401" in capsys.readouterr().out
