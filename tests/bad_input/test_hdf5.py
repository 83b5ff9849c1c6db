"""HDF5 files that lie about lengths and places, or lead out of the file, are refused before memory is taken."""

import struct

import h5py
import numpy as np
import pytest
from outcomes import outcome

from bpsta_cli.reading import hdf5

WORDS = [np.arange(9, dtype=np.uint16), np.arange(3, dtype=np.uint16)]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as root:
        array = root.create_dataset("words", (2,), h5py.vlen_dtype(np.uint16), chunks=(2,), maxshape=(None,))
        for row, word in enumerate(WORDS):
            array[row] = word
        root["plain"] = np.arange(4)
    return path


def patched(path, at, new):
    content = bytearray(path.read_bytes())
    content[at : at + len(new)] = new
    path.write_bytes(content)


def references(path):
    """The byte where the references begin, and the first reference: count, heap, index."""
    with h5py.File(path) as root:
        at = root["words"].id.get_chunk_info(0).byte_offset
    return at, struct.unpack_from("<IQI", path.read_bytes(), at)


def words(path):
    with hdf5.structure(path) as found:
        ragged = found.ragged("words")
    places = zip(ragged.starts.tolist(), ragged.counts.tolist(), strict=True)
    return [hdf5.piece(path, hdf5.Piece(ragged.dtype.str, *place)).tolist() for place in places]


def test_arrays_of_several_lengths_are_read_from_their_places(file):
    assert words(file) == [word.tolist() for word in WORDS]


@pytest.mark.parametrize("count", [0xFFFFFFFF, 10, 8, 1])
def test_another_length_than_the_heaps_is_refused(file, count):
    at, _ = references(file)
    patched(file, at, struct.pack("<I", count))
    assert outcome(lambda: words(file)).startswith(f"refused: unreadable file {file}: expected {2 * count:,} bytes")


@pytest.mark.parametrize("heap", [0, 1, 2**40, 2**64 - 1])
def test_a_heap_in_another_place_is_refused(file, heap):
    at, _ = references(file)
    patched(file, at + 4, struct.pack("<Q", heap))
    assert "expected a heap at byte" in outcome(lambda: words(file))


def test_an_object_that_is_not_there_or_leaves_its_heap_is_refused(file):
    at, (_, heap, index) = references(file)
    content = file.read_bytes()
    patched(file, at + 12, struct.pack("<I", 77))
    assert "expected object 77 in the heap" in outcome(lambda: words(file))
    file.write_bytes(content)
    assert index == 1
    for size in (2**16, 2**63, 2**64 - 1):
        patched(file, heap + 16 + 8, struct.pack("<Q", size))
        assert "expected heaps with room for their objects" in outcome(lambda: words(file))


def test_what_a_file_loses_after_it_was_opened_is_refused(file):
    with hdf5.structure(file) as found:
        ragged = found.ragged("words")
    file.write_bytes(file.read_bytes()[: ragged.starts[0] + 4])
    place = hdf5.Piece(ragged.dtype.str, int(ragged.starts[0]), 9)
    assert outcome(lambda: hdf5.piece(file, place)).startswith("refused")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.h5", "/words"), h5py.SoftLink("/words")])
def test_a_link_is_not_followed(file, link):
    file.with_name("other.h5").write_bytes(file.read_bytes())
    with h5py.File(file, "a") as root:
        del root["words"]
        root["words"] = link
    assert "got a link" in outcome(lambda: words(file))


def test_values_outside_of_the_file_are_refused(file):
    with h5py.File(file, "a") as root:
        del root["plain"]
        root.create_dataset("plain", (4,), "i8", external=[("other.bin", 0, 32)])

    def read():
        with hdf5.structure(file) as found:
            found.plain("plain")

    file.with_name("other.bin").write_bytes(bytes(32))
    assert "a row of values in the file itself as plain" in outcome(read)


@pytest.mark.parametrize("name", ["none", "plain/none", "", "words"])
def test_another_name_or_type_is_refused(file, name):
    def read():
        with hdf5.structure(file) as found:
            found.plain(name)

    assert outcome(read).startswith("refused")


def test_an_array_of_which_no_value_was_written_is_refused(file):
    with h5py.File(file, "a") as root:
        root.create_dataset("vast", (10_000_000,), h5py.vlen_dtype(np.uint16), chunks=(1000,))
        root.create_dataset("vaster", (10**12,), "u1", chunks=(1000,))

    def read(name):
        with hdf5.structure(file) as found:
            (found.ragged if name == "vast" else found.plain)(name)

    assert "expected 10,000 chunks of at most" in outcome(lambda: read("vast"))
    assert "expected at most 16,777,216 values as vaster" in outcome(lambda: read("vaster"))


@pytest.mark.parametrize(
    "values",
    [np.arange(400_000, dtype=np.uint16), np.zeros(3, np.uint8), np.full(70_000, 0xFFFF, np.uint16), b"odd", b""],
)
def test_a_checksum_is_the_librarys_and_a_chunk_that_does_not_agree_with_it_is_refused(tmp_path, values):
    path, values = tmp_path / "a.h5", np.frombuffer(values, np.uint8) if isinstance(values, bytes) else values
    with h5py.File(path, "w") as root:
        root.create_dataset("checked", data=values, chunks=(max(1, len(values)),), maxshape=(None,), fletcher32=True)

    def read():
        with hdf5.structure(path) as found:
            return found.plain("checked")

    assert read().tolist() == values.tolist()
    if len(values):
        with h5py.File(path) as root:
            at = root["checked"].id.get_chunk_info(0).byte_offset
        patched(path, at + len(values) // 2, b"\x5a")
        assert "expected chunks that agree with their checksum as checked" in outcome(read)
