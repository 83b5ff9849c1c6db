import os

import pytest

from bpsta_cli.files import replacing, write_json, write_text


def test_text_arrives_whole_in_folders_made_for_it(tmp_path):
    file = tmp_path / "a" / "b" / "text"
    write_text(file, "häh\n")
    assert file.read_bytes() == "häh\n".encode()


def test_nobody_sees_the_new_file_before_it_is_whole(tmp_path):
    file = tmp_path / "file"
    file.write_text("old")
    with replacing(file) as new:
        new.write(b"new")
        new.flush()
        assert file.read_text() == "old"
    assert file.read_text() == "new"


@pytest.mark.parametrize("interruption", [ValueError, KeyboardInterrupt])
def test_a_block_that_ends_badly_leaves_the_old_file_and_no_trace(tmp_path, interruption):
    file = tmp_path / "file"
    file.write_text("old")

    def interrupted():
        with replacing(file) as new:
            new.write(b"half")
            raise interruption

    with pytest.raises(interruption):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_text() == "old"


def test_the_file_may_be_read_by_those_whom_the_umask_lets(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "text")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_json_keeps_words_readable_and_the_order(tmp_path):
    write_json(tmp_path / "file", {"b": "é", "a": 1})
    assert (tmp_path / "file").read_text(encoding="utf-8") == '{\n  "b": "é",\n  "a": 1\n}\n'


def test_json_has_no_numbers_that_json_does_not_know(tmp_path):
    write_json(tmp_path / "file", 1)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"loss": float("nan")})
    assert (tmp_path / "file").read_text() == "1\n"
