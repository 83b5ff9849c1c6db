import errno
import gc
import hashlib
import http.server
import importlib
import io
import subprocess
import sys
import tarfile
import threading
import time
import zipfile

import pytest
from data_files import write_n_mnist
from test_cifar import write_ten

from bpsta_cli.config import Preparation
from bpsta_cli.data import catalogue
from bpsta_cli.data.downloads import download, remove_partial_downloads
from bpsta_cli.data.store import prepare
from bpsta_cli.errors import DataError

NAME = "cifar-10-python.tar.gz"
pytestmark = [  # torchvision leaves the sockets of failed downloads to the garbage collector
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _collected():
    yield
    gc.collect()  # here, where the warnings about those sockets are ignored, and not in a later test


@pytest.fixture
def serve():
    """A server on this machine: `serve(content, length)` answers every request with `content`; returns its address."""
    servers = []

    def start(content: bytes, length: int | None = None, status: int = 200):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content) if length is None else length))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/{NAME}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def archive(tmp_path):
    """CIFAR-10's archive with few images in it."""
    write_ten(tmp_path / "packed" / "cifar-10-batches-py")
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        tar.add(tmp_path / "packed" / "cifar-10-batches-py", "cifar-10-batches-py")
    return file.getvalue()


@pytest.fixture
def published(monkeypatch):
    """Makes `content` what torchvision expects, and `url` where it looks for it."""

    def publish(content: bytes, url: str):
        md5 = hashlib.md5(content).hexdigest()
        theirs, row = importlib.import_module("torchvision.datasets").CIFAR10, catalogue.get("cifar10")
        monkeypatch.setattr(theirs, "url", url)
        monkeypatch.setattr(theirs, "tgz_md5", md5)
        monkeypatch.setitem(row.checksums, NAME, md5)
        monkeypatch.setitem(row.sizes, NAME, len(content))
        return md5

    return publish


def assert_message(tmp_path, published_file, *wanted, todo):
    """Prepare, and check that the error is short, and that its note has size, checksum and the folder for the file."""
    content, md5 = published_file
    with pytest.raises(DataError, match="download of CIFAR-10 failed") as caught:
        prepare("cifar10", Preparation(T=1), data_dir=tmp_path)
    error = caught.value
    assert len(error.lines()) == 1
    assert todo in error.todo
    (note,) = error.__notes__
    for text in (f"{NAME} ({len(content):,} bytes, MD5 {md5})", f"put it into {tmp_path / 'raw'} and run again"):
        assert text in note
    assert "--source" in error.todo
    for text in wanted:
        assert text in f"{error.expected} | {error.got}"
    assert not (tmp_path / "raw" / "cifar-10-batches-py").exists()
    assert not list((tmp_path / "raw").glob(".*"))


def test_an_archive_is_fetched_checked_and_unpacked(tmp_path, serve, archive, published):
    published(archive, serve(archive))
    assert len(prepare("cifar10", Preparation(T=1), data_dir=tmp_path).split("train")) == 15
    assert (tmp_path / "raw" / NAME).read_bytes() == archive


def test_another_content_is_reported_and_its_file_is_to_be_removed(tmp_path, serve, archive, published):
    other = bytes(len(archive) + 5)
    md5 = published(archive, serve(other))
    got = f"{NAME} as published | {len(other):,} bytes with another checksum"
    assert_message(tmp_path, (archive, md5), got, todo=f"Remove {tmp_path / 'raw' / NAME} and run again")


def test_a_web_page_in_place_of_the_archive_is_reported(tmp_path, serve, archive, published):
    md5 = published(archive, serve(b"<!DOCTYPE html><title>Sign in</title>"))
    page = "a web page of 37 bytes that starts with b'<!DOCTYPE html><'"
    assert_message(tmp_path, (archive, md5), page, todo=f"Remove {tmp_path / 'raw' / NAME}")


def test_an_archive_that_broke_off_is_reported_with_how_much_came(tmp_path, serve, archive, published):
    md5 = published(archive, serve(archive[:500], length=len(archive)))
    came = f"the first 500 of {len(archive):,} bytes"
    assert_message(tmp_path, (archive, md5), came, todo=f"Remove {tmp_path / 'raw' / NAME}")


def test_a_server_that_refuses_is_reported(tmp_path, serve, archive, published):
    md5 = published(archive, serve(b"no", status=403))
    assert_message(tmp_path, (archive, md5), NAME, "403", todo="--dataset digits runs at once")


def test_no_network_is_reported_and_what_runs_without_is_named(tmp_path, archive, published):
    md5 = published(archive, f"http://127.0.0.1:9/{NAME}")
    refused = f"{NAME} | no connection ([Errno 111] Connection refused)"
    assert_message(tmp_path, (archive, md5), refused, todo="--dataset digits runs at once, without a download.")


@pytest.mark.parametrize(
    ("name", "instead"),
    [("dvs-gesture", "synthetic-gestures"), ("speech-commands", "synthetic-speech"), ("mnist", "digits")],
)
def test_without_a_network_a_data_set_of_the_same_kind_is_named_that_runs_at_once(name, instead):
    assert catalogue.without_download(catalogue.get(name).kind) == instead


def test_a_full_disk_is_reported_and_leaves_nothing_half_unpacked(tmp_path, serve, archive, published, monkeypatch):
    published(archive, serve(archive))
    extract = tarfile.TarFile.extractall

    def full(tar, path, *args, **kwargs):
        extract(tar, path, members=tar.getmembers()[:3])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarFile, "extractall", full)
        with pytest.raises(DataError, match=r"room in .*raw, got .* bytes free .*No space left.*Free some space"):
            prepare("cifar10", Preparation(T=1), data_dir=tmp_path)
        assert [path.name for path in (tmp_path / "raw").iterdir()] == [NAME]
    published(archive, "http://127.0.0.1:9/gone")
    assert len(prepare("cifar10", Preparation(T=1), data_dir=tmp_path).split("test")) == 2, "the whole archive was kept"


def test_an_archive_fetched_by_hand_is_taken_from_where_the_message_says(tmp_path, archive, published):
    published(archive, "http://127.0.0.1:9/gone")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / NAME).write_bytes(archive)
    assert len(prepare("cifar10", Preparation(T=1), data_dir=tmp_path).split("train")) == 15


def test_an_archive_that_is_no_archive_in_spite_of_its_checksum_is_reported(tmp_path, serve, published):
    content = b"\x1f\x8b" + bytes(50)
    published(content, serve(content))
    with pytest.raises(DataError, match=r"whole archives in .*, to be unpacked"):
        prepare("cifar10", Preparation(T=1), data_dir=tmp_path)


def test_tonics_download_is_reported_in_the_same_way(tmp_path, serve, monkeypatch):
    theirs = importlib.import_module("tonic.datasets").NMNIST
    monkeypatch.setattr(theirs, "train_url", serve(b"<html>"))
    with pytest.raises(DataError, match="download of N-MNIST failed") as caught:
        prepare("n-mnist", Preparation(T=1), data_dir=tmp_path)
    assert "train.zip (MD5 20959b8e626244a1b502305a9e6e2031)" in caught.value.__notes__[0]
    assert "a web page of 6 bytes that starts with b'<html>'" in caught.value.got
    assert f"Remove {tmp_path / 'raw' / 'NMNIST' / 'train.zip'}" in caught.value.todo


def test_recordings_that_were_put_there_by_hand_stay_when_a_download_fails(tmp_path, monkeypatch):
    write_n_mnist(tmp_path / "raw" / "NMNIST", test=0)
    monkeypatch.setattr(importlib.import_module("tonic.datasets").NMNIST, "test_url", "http://127.0.0.1:9/x")
    monkeypatch.setattr(importlib.import_module("tonic.datasets").NMNIST, "train_url", "http://127.0.0.1:9/x")
    with pytest.raises(DataError, match="download of N-MNIST failed"):
        prepare("n-mnist", Preparation(T=1), data_dir=tmp_path)
    assert len(list((tmp_path / "raw" / "NMNIST").rglob("*.bin"))) == 4


KILLED = """
import os, sys, time
from pathlib import Path
from bpsta_cli.data import catalogue
from bpsta_cli.data.downloads import download
folder, wait = Path(sys.argv[1]), float(sys.argv[2])
def fetch():
    (folder / "Train" / "0").mkdir(parents=True)
    (folder / "started").touch()
    time.sleep(wait)
    if not wait:
        os._exit(9)
    (folder / "Test").mkdir()
download(catalogue.get("n-mnist"), folder, fetch, [folder / "Train", folder / "Test"])
"""


def test_what_a_killed_download_had_begun_to_unpack_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "mine").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), "0"], check=False)
    assert (tmp_path / "Train").is_dir()
    remove_partial_downloads(catalogue.get("n-mnist"), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "started"]


def test_a_download_under_way_is_waited_for_and_not_removed(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path), "0.5"])
    while not (tmp_path / "started").exists():
        assert other.poll() is None
        time.sleep(0.01)
    remove_partial_downloads(catalogue.get("n-mnist"), tmp_path)
    assert (tmp_path / "Test").is_dir()
    assert other.wait() == 0


def test_an_interrupted_download_leaves_its_archives_and_no_half_unpacked_folder(tmp_path):
    def fetch():
        with zipfile.ZipFile(tmp_path / "train.zip", "w"):
            (tmp_path / "Train").mkdir()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(catalogue.get("n-mnist"), tmp_path, fetch, [tmp_path / "Train"])
    assert [path.name for path in tmp_path.iterdir()] == ["train.zip"]


def test_a_folder_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "raw").write_text("a file")
    with pytest.raises(DataError, match="download of CIFAR-10 failed"):
        prepare("cifar10", Preparation(T=1), data_dir=tmp_path)
