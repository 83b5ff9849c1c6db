"""The cache of compiled kernels: nothing is loaded that another user could have put there."""

import ctypes
import os
import subprocess
import uuid
import warnings

import pytest

from bpsta_cli.errors import BpstaWarning
from bpsta_cli.kernels.cpu import cache

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="loads by way of /proc")  # noqa: PTH110


def compiled(folder, number, name="cpu.so"):
    """A library whose `answer` is `number`."""
    source, output = folder / "answer.c", folder / name
    source.write_text(f"int answer(void) {{ return {number}; }}\n")
    try:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", output, source], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no compiler")
    return output


@pytest.fixture
def builds():
    """Counts how often it is asked for the library whose answer is 1."""

    def build(folder):
        build.count += 1
        return compiled(folder, 1)

    build.count = 0
    return build


@pytest.fixture
def name():
    """Another one in each test: the loader knows what it has loaded by its path."""
    return f"cpu-{uuid.uuid4().hex[:16]}.so"


@pytest.fixture
def answer(name, builds):
    return lambda folder: cache.load(folder, name, builds).answer()


@pytest.fixture
def planted(tmp_path, name):
    """Put another's library under the name that will be asked for, with a digest as the cache writes one."""

    def plant(folder, folder_mode=0o700, file_mode=0o644):
        folder.mkdir(exist_ok=True)
        folder.chmod(folder_mode)
        cache._keep(folder / name, compiled(tmp_path, 666).read_bytes())
        (folder / name).chmod(file_mode)

    return plant


def test_a_library_is_built_once_into_a_folder_that_is_closed_to_others(tmp_path, builds, answer, name):
    folder = tmp_path / "new" / "cache"
    assert [answer(folder), answer(folder)] == [1, 1]
    assert builds.count == 1
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [file.name for file in folder.iterdir()] == [name]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o702])
def test_a_library_planted_in_a_folder_that_others_can_write_to_is_not_loaded(mode, tmp_path, planted, answer, name):
    folder = tmp_path / "cache"
    planted(folder, folder_mode=mode)
    before = (folder / name).read_bytes()
    with pytest.warns(BpstaWarning, match=r"is not used: expected .* got .*cache: it can be written to by others"):
        assert answer(folder) == 1
    assert [file.read_bytes() for file in folder.iterdir()] == [before]


@pytest.mark.skipif(os.geteuid() != 0, reason="only the administrator can give a file away")
@pytest.mark.parametrize("what", ["folder", "file"])
def test_nothing_of_another_user_is_loaded(what, tmp_path, planted, answer, name):
    folder = tmp_path / "cache"
    planted(folder)
    os.chown(folder if what == "folder" else folder / name, 12345, -1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert answer(folder) == 1
    assert [("belongs to user 12345" in str(each.message)) for each in told] == ([True] if what == "folder" else [])


@pytest.mark.parametrize("mode", [0o666, 0o664])
def test_a_file_that_others_can_write_to_is_replaced(mode, tmp_path, planted, answer, name):
    folder = tmp_path / "cache"
    planted(folder, file_mode=mode)
    assert answer(folder) == 1
    assert (folder / name).stat().st_mode & 0o777 == 0o644


def test_a_link_out_of_the_folder_is_replaced(tmp_path, planted, answer, name):
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    planted(elsewhere)
    before = (elsewhere / name).read_bytes()
    folder.mkdir(mode=0o700)
    (folder / name).symlink_to(elsewhere / name)
    assert answer(folder) == 1
    assert not (folder / name).is_symlink()
    assert (elsewhere / name).read_bytes() == before


def test_neither_a_fifo_nor_a_folder_under_the_name_stops_it(tmp_path, answer, name):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    os.mkfifo(folder / name)
    assert answer(folder) == 1
    (folder / name).unlink()
    (folder / name).mkdir()
    with pytest.warns(BpstaWarning, match="is not used"):
        assert answer(folder) == 1


@pytest.mark.parametrize("damage", ["flipped", "short", "empty"])
def test_a_damaged_library_is_built_anew(damage, tmp_path, builds, answer, name):
    folder = tmp_path / "cache"
    answer(folder)
    whole = (folder / name).read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    (folder / name).unlink()  # it is loaded here, and may not change under the loader's feet
    (folder / name).write_bytes({"flipped": flipped, "short": whole[:middle], "empty": b""}[damage])
    assert answer(folder) == 1
    assert builds.count == 2


def test_a_folder_that_cannot_be_made_is_told_and_the_library_works(tmp_path, answer):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.warns(BpstaWarning, match="is not used"):
        assert answer(tmp_path / "cache") == 1


def test_what_is_built_for_one_process_is_gone_from_the_disk(monkeypatch, tmp_path, builds, answer, name):
    folder, private = tmp_path / "cache", tmp_path / "tmp"
    folder.mkdir()
    folder.chmod(0o777)
    private.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(private))
    with pytest.warns(BpstaWarning):
        library = cache.load(folder, name, builds)
    assert list(private.iterdir()) == []
    assert isinstance(library, ctypes.CDLL)
    assert library.answer() == 1
