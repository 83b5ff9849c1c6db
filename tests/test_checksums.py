import json

import pytest

from bpsta_cli import checksums
from bpsta_cli.checksums import DamagedError
from bpsta_cli.reading import regular

VALUE = {"accuracy": 0.98, "classes": ["é", "b"], "nothing": None, "deep": {"a": 1}}


def test_what_was_written_comes_back_and_is_vouched_for():
    assert checksums.parse(checksums.with_checksum(VALUE).encode()) == (VALUE, True)


def test_the_file_is_json_whose_last_key_is_the_checksum():
    assert list(json.loads(checksums.with_checksum(VALUE))) == [*VALUE, "sha256"]


def test_every_flipped_bit_is_seen():
    content = checksums.with_checksum(VALUE).encode()
    for place in range(len(content)):
        for bit in range(8):
            changed = bytearray(content)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError):
                checksums.parse(bytes(changed))


def test_every_truncation_is_seen():
    content = checksums.with_checksum(VALUE).encode()
    for length in range(len(content)):
        with pytest.raises(ValueError):
            checksums.parse(content[:length])


def test_a_file_without_a_checksum_is_read_and_said_to_have_none():
    for text in (
        '{"a": 1}',
        '{\n  "content_hash": "' + "0" * 64 + '"\n}\n',
        '{\n  "a": 1,\n  "b": "' + "0" * 64 + '"\n}\n',
    ):
        assert checksums.parse(text.encode()) == (json.loads(text), False)


@pytest.mark.parametrize("content", [b"[]", b"3", b"{", b"\xff", b""])
def test_what_is_no_json_object_is_refused(content):
    with pytest.raises(ValueError):
        checksums.parse(content)


def test_a_file_that_was_formatted_anew_is_refused():
    with pytest.raises(DamagedError):
        checksums.parse(json.dumps(json.loads(checksums.with_checksum(VALUE))).encode())


def test_a_files_sum_is_that_of_its_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(regular, "_PIECE", 2)
    (tmp_path / "file").write_bytes(b"hello")
    assert regular.sha256(tmp_path / "file") == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
