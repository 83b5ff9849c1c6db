import os
import subprocess
import sys
import time

import numpy as np
import pytest
from data_files import write_mnist, write_n_mnist

from bpsta_cli import checksums
from bpsta_cli.config import Preparation
from bpsta_cli.data import sources
from bpsta_cli.data.sources import Source
from bpsta_cli.data.store import build, open_store, prepare, store_path
from bpsta_cli.data.store.status import catalogue_status
from bpsta_cli.errors import DataError
from bpsta_cli.files import write_json


@pytest.fixture
def mnist(tmp_path):
    return prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path)


def test_a_prepared_store_is_where_store_path_says(tmp_path, mnist):
    assert mnist.path == store_path(tmp_path, "mnist", Preparation(T=99)) == tmp_path / "prepared" / "mnist" / "images"
    expected = tmp_path / "prepared" / "n-mnist" / "T8-number"
    assert store_path(tmp_path, "n-mnist", Preparation(T=8)) == expected


def test_arrays_are_memory_mapped_and_read_only(mnist):
    x = mnist.split("train").x
    assert isinstance(x, np.memmap)
    assert not x.flags.writeable
    assert len(mnist.split("train")) == 12


def test_a_subset_of_a_subset_reads_the_rows_it_names(mnist):
    whole = mnist.split("train")
    part = whole.subset(np.array([7, 3, 5])).subset(np.array([2, 0]))
    assert (len(part), part.y.tolist()) == (2, whole.y[[5, 7]].tolist())
    np.testing.assert_array_equal(part.x[:2], whole.x[[5, 7]])


def test_preparing_again_writes_nothing(tmp_path, mnist):
    before = mnist.path.stat().st_ino
    assert prepare("mnist", Preparation(T=8), data_dir=tmp_path).content_hash == mnist.content_hash
    assert prepare("mnist", Preparation(T=8), source=tmp_path / "given", data_dir=tmp_path).path.stat().st_ino == before


def test_another_source_is_prepared_anew(tmp_path, mnist):
    more = prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "more", train=20), data_dir=tmp_path)
    assert (len(more.split("train")), len(mnist.split("train"))) == (20, 12)
    assert more.content_hash != mnist.content_hash


def test_another_data_set_whose_files_have_the_same_names_and_sizes_is_prepared_anew(tmp_path, mnist):
    look_alike = write_mnist(tmp_path / "fashion")
    images = look_alike / "train-images-idx3-ubyte"
    content = bytearray(images.read_bytes())
    content[1000:2000] = bytes(255 - byte for byte in content[1000:2000])
    images.write_bytes(content)
    other = prepare("mnist", Preparation(T=4), source=look_alike, data_dir=tmp_path)
    assert other.content_hash != mnist.content_hash


def test_a_copy_of_the_files_is_the_same_source_and_few_of_very_many_are_looked_into(tmp_path, monkeypatch):
    def of(*names):
        return Source(tmp_path, tuple(tmp_path / name for name in names), lambda split: None).fingerprint()

    names = [f"{number:04d}.wav" for number in range(5)]
    for name in names:
        (tmp_path / name).write_bytes(bytes(9_000))
    before = of(*names)
    assert of(*reversed(names)) == before
    (tmp_path / "0001.wav").write_bytes(bytes(8_999) + b"x")
    assert of(*names) == before, "neither at the beginning nor in the middle"
    (tmp_path / "0001.wav").write_bytes(b"x" + bytes(8_999))
    assert of(*names) != before
    monkeypatch.setattr(sources, "FILES_LOOKED_INTO", 2)  # 0000 and 0003
    before = of(*names)
    (tmp_path / "0001.wav").write_bytes(bytes(9_000))
    assert of(*names) == before
    (tmp_path / "0003.wav").write_bytes(bytes(4_500) + b"x" + bytes(4_499))
    assert of(*names) != before


def test_the_same_data_give_the_same_hash_in_any_folder(tmp_path, mnist):
    source = write_mnist(tmp_path / "elsewhere" / "raw", compress=True)
    other = prepare("mnist", Preparation(T=1), source=source, data_dir=tmp_path / "other")
    assert other.content_hash == mnist.content_hash
    assert str(tmp_path) not in (other.path / "manifest.json").read_text()


def test_one_changed_pixel_or_setting_gives_another_hash(tmp_path, mnist):
    file = tmp_path / "given" / "train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    changed = prepare("mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path / "other")
    source = write_n_mnist(tmp_path / "events")
    by_number, by_time = (
        prepare("n-mnist", Preparation(T=2, split_by=split_by), source=source, data_dir=tmp_path)
        for split_by in ("number", "time")
    )
    hashes = {store.content_hash for store in (mnist, changed, by_number, by_time)}
    assert len(hashes) == 4


def test_opening_what_is_not_there_says_how_to_prepare_it(tmp_path):
    with pytest.raises(DataError, match=r"no such folder\. Run `bpsta prepare`"):
        open_store(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"no manifest\.json in it"):
        open_store(tmp_path)


def test_a_truncated_array_does_not_open(mnist):
    file = mnist.path / "train_x.npy"
    size = file.stat().st_size
    os.truncate(file, size - 1)
    with pytest.raises(DataError, match=f"expected {size:,} bytes, got {size - 1:,}") as caught:
        open_store(mnist.path)
    assert "prepare the data set again" in caught.value.todo


def test_a_missing_array_does_not_open(mnist):
    (mnist.path / "test_y.npy").unlink()
    with pytest.raises(DataError, match=r"test_y\.npy.*no such file"):
        open_store(mnist.path)


def test_an_array_of_another_type_does_not_open(mnist):
    file = mnist.path / "train_x.npy"
    array = np.load(file)
    del mnist
    np.save(file, array.view(np.int8))
    with pytest.raises(DataError, match="expected uint8"):
        open_store(file.parent)
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(DataError, match=r"an \.npy array"):
        open_store(file.parent)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda manifest: manifest.update(clases=manifest.pop("classes")), "classes: Field required"),
        (lambda manifest: manifest.update(format=2), "format: Input should be 1"),
        (lambda manifest: manifest.update(scale=1.0), "changed by hand"),
        (lambda manifest: manifest["arrays"].pop("test_y"), "changed by hand"),
    ],
)
def test_a_manifest_changed_by_hand_does_not_open(mnist, edit, message):
    file = mnist.path / "manifest.json"
    manifest, _ = checksums.parse(file.read_bytes())
    edit(manifest)
    write_json(file, manifest)  # as an older version wrote it
    with pytest.raises(DataError, match=message):
        open_store(mnist.path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]"])
def test_a_manifest_that_is_no_manifest_does_not_open(mnist, content):
    (mnist.path / "manifest.json").write_bytes(content)
    with pytest.raises(DataError, match="a manifest of format 1"):
        open_store(mnist.path)


def test_a_damaged_store_is_made_anew(tmp_path, mnist):
    os.truncate(mnist.path / "train_x.npy", 10)
    again = prepare("mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    again.verify()
    assert again.content_hash == mnist.content_hash


def test_a_folder_that_is_no_store_is_never_overwritten(tmp_path):
    mine = tmp_path / "prepared" / "mnist" / "images" / "thesis.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("years of work")
    with pytest.raises(DataError, match="never overwritten"):
        prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path)
    assert mine.read_text() == "years of work"


def test_progress_counts_the_samples_of_each_split(tmp_path):
    calls = []
    source = write_n_mnist(tmp_path / "given", train=3, test=1)
    prepare("n-mnist", Preparation(T=2), source=source, data_dir=tmp_path, progress=lambda *step: calls.append(step))
    expected = [
        (1, 3, "n-mnist train"),
        (2, 3, "n-mnist train"),
        (3, 3, "n-mnist train"),
        (1, 1, "n-mnist test"),
    ]
    assert calls[1:] == expected


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def interrupt(done, total, text):
        if done:
            raise KeyboardInterrupt

    source = write_mnist(tmp_path / "given")
    with pytest.raises(KeyboardInterrupt):
        prepare("mnist", Preparation(T=4), source=source, data_dir=tmp_path, progress=interrupt)
    assert [path.name for path in (tmp_path / "prepared" / "mnist").iterdir()] == [".images.lock"]


DIE = """
import os, sys, time
from pathlib import Path
from bpsta_cli.config import Preparation
from bpsta_cli.data.store import prepare
folder, wait = Path(sys.argv[1]), float(sys.argv[2])
def progress(done, total, text):
    if done:
        (folder / "started").touch()
        time.sleep(wait)
        os._exit(9) if not wait else None
prepare("mnist", Preparation(T=4), source=folder / "given", data_dir=folder, progress=progress)
"""


def test_a_killed_preparation_leaves_nothing_that_opens_and_is_removed(tmp_path):
    source = write_mnist(tmp_path / "given")
    done = subprocess.run([sys.executable, "-c", DIE, str(tmp_path), "0"], check=False)
    leftover = tmp_path / "prepared" / "mnist" / ".images.building"
    assert (done.returncode, leftover.is_dir()) == (9, True)
    for path in (leftover, store_path(tmp_path, "mnist", Preparation(T=4))):
        with pytest.raises(DataError):
            open_store(path)
    prepare("mnist", Preparation(T=4), source=source, data_dir=tmp_path).verify()
    assert not leftover.exists()


def test_two_processes_that_prepare_the_same_do_not_disturb_each_other(tmp_path):
    source = write_mnist(tmp_path / "given")
    other = subprocess.Popen([sys.executable, "-c", DIE, str(tmp_path), "0.3"])
    while not (tmp_path / "started").exists():
        assert other.poll() is None
        time.sleep(0.01)
    calls = []
    store = prepare(
        "mnist", Preparation(T=4), source=source, data_dir=tmp_path, progress=lambda *step: calls.append(step)
    )
    assert other.wait() == 0
    assert not [text for *_, text in calls if text.startswith("mnist t")], "the second waited and found the store made"
    store.verify()


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = build.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(build.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="expected 9,408 bytes, got 100"):
        prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "data").write_text("a file")
    with pytest.raises(DataError, match="a folder that can be written"):
        prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path / "data")


def test_the_status_lists_every_data_set_and_whole_stores_alone(tmp_path, mnist):
    source = write_n_mnist(tmp_path / "events")
    for T in (2, 3):
        broken = prepare("n-mnist", Preparation(T=T), source=source, data_dir=tmp_path)
    os.truncate(broken.path / "test_x.npy", 1)
    status = {row.name: row for row in catalogue_status(tmp_path)}
    assert status["mnist"].prepared
    assert status["mnist"].bytes == sum(file.stat().st_size for file in mnist.path.glob("*.npy"))
    assert [path.name for path in status["n-mnist"].stores] == ["T2-number"]
    assert not status["digits"].prepared


def test_the_status_of_an_empty_folder_is_that_nothing_is_prepared(tmp_path):
    assert not any(row.prepared for row in catalogue_status(tmp_path / "nothing"))
