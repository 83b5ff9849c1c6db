"""Nothing damaged is read out of a prepared store in silence, and what killed preparations left is swept."""

import contextlib
import os

import pytest
from data_files import write_mnist

from bpsta_cli import checksums
from bpsta_cli.config import Preparation
from bpsta_cli.data.presets import preset
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.data.store import build, open_store, prepare, verified, with_checksum
from bpsta_cli.errors import DataError
from bpsta_cli.files import write_json

REAL_FOLDER = verified._folder
"""The tests' own notes lie elsewhere (conftest.py)."""


@pytest.fixture
def mnist(tmp_path):
    return prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path)


def test_a_changed_value_is_found_by_its_checksum(mnist):
    file = mnist.path / "test_x.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    store = open_store(mnist.path)
    for look in (store.verify, store.verify_once):
        with pytest.raises(DataError, match="SHA-256"):
            look()


def test_arrays_are_read_for_their_checksums_once_for_each_version_of_their_files(mnist, tmp_path, monkeypatch):
    monkeypatch.setattr(verified, "_folder", REAL_FOLDER)
    monkeypatch.setenv("BPSTA_CACHE", str(tmp_path / "cache"))
    seen = []

    def look():
        seen.clear()
        open_store(mnist.path).verify_once(lambda *step: seen.append(step[2].rpartition("/")[2]))
        return seen

    assert look() == ["train_x.npy", "train_y.npy", "test_x.npy", "test_y.npy"]
    assert look() == []
    file = mnist.path / "train_y.npy"
    file.write_bytes(file.read_bytes())
    assert look() == ["train_y.npy"]
    (tmp_path / "cache" / "verified").chmod(0o777)
    assert len(look()) == 4, "what others can write to is not believed"


def test_a_value_changed_under_the_same_times_is_found_all_the_same(mnist):
    file = mnist.path / "test_x.npy"
    mnist.verify_once()
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match="SHA-256"):
        open_store(mnist.path).verify_once()


def test_no_flipped_bit_in_an_arrays_header_gives_other_values(mnist):
    file = mnist.path / "train_y.npy"
    content, labels = file.read_bytes(), mnist.split("train").y.tolist()
    for place in range(10, content.index(b"\n")):
        for bit in (0, 1, 2, 5):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            file.write_bytes(changed)
            with contextlib.suppress(DataError):
                assert open_store(mnist.path).split("train").y.tolist() == labels


def test_a_flipped_bit_anywhere_in_the_manifest_is_seen(mnist):
    file = mnist.path / "manifest.json"
    content = file.read_bytes()
    for place in (1, content.index(b"official"), content.index(b'"source"') + 12, len(content) // 2, len(content) - 9):
        changed = bytearray(content)
        changed[place] ^= 4
        file.write_bytes(changed)
        with pytest.raises(DataError, match="damaged store file"):
            open_store(mnist.path)


def test_a_damaged_store_is_read_in_silence_by_nobody(mnist, tmp_path):
    file = mnist.path / "train_x.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    settings = preset("mnist", source=None)
    with pytest.raises(DataError, match="SHA-256"):
        prepared_store("mnist", settings, T=4, data_dir=tmp_path, expected_hash=mnist.content_hash)
    again = prepare("mnist", Preparation(T=4), source=tmp_path / "given", data_dir=tmp_path)
    assert (again.content_hash, again.verify()) == (mnist.content_hash, None)


def test_a_manifest_of_an_older_version_opens_says_that_it_is_unchecked_and_gets_its_checksum(mnist):
    file = mnist.path / "manifest.json"
    write_json(file, checksums.parse(file.read_bytes())[0])
    store = open_store(mnist.path)
    assert (store.checked, with_checksum(store).checked, open_store(mnist.path).checked) == (False, True, True)


def test_half_built_stores_of_killed_processes_are_swept_by_the_next_one_and_those_of_living_ones_stay(tmp_path):
    folder = tmp_path / "prepared" / "mnist"
    for name in ("dead", "living"):
        (folder / f".{name}.building").mkdir(parents=True)
    with build.locked(folder / "living"):
        (folder / ".living.building").mkdir(exist_ok=True)
        prepare("mnist", Preparation(T=4), source=write_mnist(tmp_path / "given"), data_dir=tmp_path)
        assert [path.name for path in folder.glob(".*.building")] == [".living.building"]
