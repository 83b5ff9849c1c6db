import numpy as np
import pytest
from data_files import write_wav

from bpsta_cli.config import Preparation, RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.data.datasets.speech_commands import balanced
from bpsta_cli.data.formats.audio import log_mel
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.store import open_store, prepare
from bpsta_cli.errors import DataError

WORDS = catalogue.get("speech-commands").classes
OLDER = catalogue.get("speech-commands").older_classes


def sound(seed, length=400):
    return np.random.default_rng(seed).integers(-3000, 3000, length)


def write_commands(folder, words=OLDER, *, extra=("bed",)):
    """Three clips a word (training, validation, test), and two training clips more of the words in `extra`."""
    lists = {"validation": [], "testing": []}
    for label, word in enumerate(words):
        for index in range(5 if word in extra else 3):
            name = f"{word}/{index}_nohash_0.wav"
            write_wav(folder / name, sound(10 * label + index))
            if index in (1, 2):
                lists["validation" if index == 1 else "testing"].append(name)
    write_wav(folder / "_background_noise_" / "hum.wav", sound(0))
    for which, names in lists.items():
        (folder / f"{which}_list.txt").write_text("\n".join(names) + "\n")
    return folder


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    return write_commands(tmp_path_factory.mktemp("commands") / "given")


@pytest.fixture(scope="module")
def store(given):
    return prepare("speech-commands", Preparation(T=4), source=given, data_dir=given.parent)


def test_the_lists_name_the_test_and_the_validation_part_and_the_rest_trains(store):
    assert store.path.name == "T4"
    assert (store.split("test").y.tolist(), store.split("validation").y.tolist()) == (list(range(30)),) * 2
    assert store.split("train").distinct == 32
    expected = log_mel(sound(12) / 32768, 16_000, T=4)
    np.testing.assert_array_equal(store.split("test").x[1], expected)
    np.testing.assert_array_equal(store.split("validation").x[1], log_mel(sound(11) / 32768, 16_000, T=4))


def test_every_class_trains_as_often_as_the_largest_without_a_second_copy_on_disk(store):
    train = store.split("train")
    assert np.bincount(train.y).tolist() == [3] * 30
    assert store.manifest.arrays["train_x"].shape == (32, 4, 1, 32, 16)
    rows = np.flatnonzero(train.y == 1)
    np.testing.assert_array_equal(train.x[rows], np.repeat(train.x[rows[:1]], 3, axis=0))


def test_repeats_are_the_same_every_time_and_are_all_from_their_class():
    y = np.array([0, 1, 1, 1, 1, 1, 0, 3])
    rows = balanced(y)
    assert rows[:8].tolist() == list(range(8)), "each sample once"
    assert np.bincount(y[rows]).tolist() == [5, 5, 0, 5]
    np.testing.assert_array_equal(rows, balanced(y))
    assert rows[8:].tolist() == [0, 6, 6, 7, 7, 7, 7], "as drawn by the first seed, on any machine"


def test_the_repeats_belong_to_the_content_and_are_verified(store, given):
    open_store(store.path, verify=True)
    assert "train_rows" in store.manifest.arrays
    other = prepare("speech-commands", Preparation(T=4), source=given, data_dir=given.parent / "again")
    assert other.content_hash == store.content_hash


def run_settings():
    data = {"network": "small", "epochs": 1, "warmup_epochs": 0, "batch_size": 1}
    training = {"selection": "validation", "validation_fraction": 0.5}
    return RunSettings.model_validate({"dataset": "speech-commands", "data": data, "training": training})


def test_the_official_validation_part_chooses_the_epoch(store):
    train, validation = training_parts(run_settings(), store)
    assert (len(train), validation.y.tolist()) == (90, list(range(30)))


def test_a_copy_without_a_validation_part_never_validates_on_a_clip_that_it_trains_on(tmp_path):
    folder = write_commands(tmp_path / "given")
    (folder / "validation_list.txt").write_text("")
    store = prepare("speech-commands", Preparation(T=1), source=folder, data_dir=tmp_path)
    assert not store.has_validation
    train, validation = training_parts(run_settings(), store)
    assert not set(train.ids) & set(validation.ids)
    assert len(validation) == validation.distinct == 31
    assert (train.distinct, len(train) > 31) == (31, True)


def test_the_words_tell_the_version(given, store, tmp_path):
    assert store.classes == OLDER
    assert store.manifest.split.startswith("version 0.01; official")
    assert store.manifest.partial == "32 of 51,088 training and 30 of 6,835 test samples"
    newer = prepare(
        "speech-commands", Preparation(T=1), source=write_commands(tmp_path / "given", WORDS), data_dir=tmp_path
    )
    assert (newer.classes, newer.manifest.partial) == (
        WORDS,
        "37 of 84,843 training and 35 of 11,005 test samples",
    )


def test_either_version_is_found_again_and_not_prepared_anew(store, given):
    again = prepare("speech-commands", Preparation(T=4), data_dir=given.parent)
    assert again.path.stat().st_ino == store.path.stat().st_ino


@pytest.mark.parametrize("inner", ["speech_commands_v0.01", "SpeechCommands/speech_commands_v0.02"])
def test_the_folders_of_torchaudio_are_found(tmp_path, inner):
    write_commands(tmp_path / "given" / inner, extra=())
    assert (
        len(prepare("speech-commands", Preparation(T=1), source=tmp_path / "given", data_dir=tmp_path).split("test"))
        == 30
    )


def break_list(folder):
    with (folder / "testing_list.txt").open("a") as file:
        file.write("bed/gone.wav\n")


def empty_folder(folder):
    for file in (folder / "cat").iterdir():
        file.unlink()
    (folder / "testing_list.txt").write_text("bed/2_nohash_0.wav")
    (folder / "validation_list.txt").write_text("")


def drop_word(folder):
    empty_folder(folder)
    (folder / "cat").rmdir()


@pytest.mark.parametrize(
    ("damage", "where", "message"),
    [
        (break_list, "testing_list.txt", "got 'bed/gone.wav' in line 31"),
        (lambda folder: (folder / "testing_list.txt").write_text("<html> </html>"), "testing_list.txt", "'<html>'"),
        (
            lambda folder: (folder / "testing_list.txt").write_bytes(b"\xff\xfe"),
            "testing_list.txt",
            "byte 0xff",
        ),
        (lambda folder: (folder / "testing_list.txt").write_text(""), "testing_list.txt", "no test split here"),
        (lambda folder: (folder / "validation_list.txt").unlink(), "given", "a folder with validation_list.txt"),
        (empty_folder, "given", r"no clips of 'cat'.*30 words, got none"),
        (drop_word, "given", "no clips of 'cat'.*no such folder"),
        (
            lambda folder: write_wav(folder / "bed" / "0_nohash_0.wav", sound(0), rate=8000),
            "bed/0_nohash_0.wav",
            "expected 16,000 Hz, got 8,000 Hz. Resample",
        ),
        (
            lambda folder: (folder / "bed" / "0_nohash_0.wav").write_bytes(b"RIFF"),
            "bed/0_nohash_0.wav",
            "expected a WAV file",
        ),
    ],
)
def test_a_copy_that_is_not_whole_is_refused_and_leaves_no_store(tmp_path, damage, where, message):
    folder = write_commands(tmp_path / "given", extra=())
    damage(folder)
    with pytest.raises(DataError, match=message) as caught:
        prepare("speech-commands", Preparation(T=1), source=folder, data_dir=tmp_path)
    assert where in str(caught.value)
    assert not list(tmp_path.glob("prepared/*/[!.]*"))


@pytest.mark.parametrize("setting", [{"size": 16}, {"test_fraction": 0.5}])
def test_what_is_for_events_is_refused(given, tmp_path, setting):
    with pytest.raises(DataError, match="speech-commands holds sound"):
        prepare("speech-commands", Preparation(T=1, **setting), source=given, data_dir=tmp_path)


def test_a_missing_copy_is_downloaded_through_torchaudio(tmp_path, monkeypatch):
    def fetch(root, *, url, download):
        assert download
        write_commands(root / "SpeechCommands" / url, WORDS, extra=())

    monkeypatch.setattr("torchaudio.datasets.SPEECHCOMMANDS", fetch)
    assert prepare("speech-commands", Preparation(T=1), data_dir=tmp_path).classes == WORDS


def test_a_failed_download_says_what_to_fetch_by_its_sha_256(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("no route")

    monkeypatch.setattr("torchaudio.datasets.SPEECHCOMMANDS", fail)
    with pytest.raises(DataError, match="download of Speech Commands") as caught:
        prepare("speech-commands", Preparation(T=1), data_dir=tmp_path)
    (note,) = caught.value.__notes__
    assert "v0.02.tar.gz (SHA-256 af14739e" in note
    assert f"put it into {tmp_path / 'raw'}" in note


def test_nothing_is_in_the_way_of_torchaudios_download_and_none_is_taken_for_one(tmp_path, monkeypatch):
    asked = []

    def refused(url, *_, **__):
        asked.append(url)
        raise OSError("no route")

    monkeypatch.setattr("torchaudio.datasets.speechcommands.download_url_to_file", refused)
    (tmp_path / "raw" / "SpeechCommands" / "speech_commands_v0.02").mkdir(parents=True)
    with pytest.raises(DataError, match=r"download of Speech Commands .* no route"):
        prepare("speech-commands", Preparation(T=1), data_dir=tmp_path)
    assert asked == ["http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"]
