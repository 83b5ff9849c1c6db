"""Downloads: an error says what is wrong and what to do, and nothing half-unpacked stays on the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import http.client
import re
import shutil
import socket
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bpsta_cli import locks
from bpsta_cli.data import catalogue
from bpsta_cli.data.catalogue import Dataset
from bpsta_cli.errors import DataError, shortened

_ERRORS = (
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    http.client.HTTPException,
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
)
_SERVER_TIMEOUT_SECONDS = 60.0
"""A server that sends nothing for this long counts as out of reach."""
_MD5_DIGITS = 32
MOST = 120
"""Characters of what a server or library said; all of it is in the error's note."""


def download(dataset: Dataset, folder: Path, fetch: Callable[[], Any], unpacked: Sequence[Path] = ()) -> None:
    """Run `fetch` of another library; what it prints goes to stderr. A complete archive on the disk is kept.

    Args:
        dataset: the row, for its checksums.
        folder: where the archives go, and a copy fetched by hand.
        fetch: downloads and unpacks.
        unpacked: what it unpacks. What it began and did not finish is removed: here or, if this process is
            killed, by the next `remove_partial_downloads`.

    Raises:
        DataError: it failed. Its message says what is wrong and the next step; a note of it (`__notes__`, which a
            traceback shows) names each file with its checksum and size, and where to put it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _marked_unfinished(dataset, folder, unpacked), _default_timeout(), contextlib.redirect_stdout(sys.stderr):
            fetch()
    except _ERRORS as error:
        raise _failed(dataset, folder, error) from error


def _failed(dataset: Dataset, folder: Path, error: Exception) -> DataError:
    """The error in a few words, with a note for those who fetch the files by hand."""
    expected, got, there = _first_wrong_file(dataset, folder, error)
    if _is_full(error):
        todo = f"Free some space in {folder} and run again."
    elif there is None:
        todo = (
            "Connect to the internet and run again, or name a copy with --source; --dataset "
            f"{catalogue.without_download(dataset.kind)} runs at once, without a download."
        )
    else:
        todo = f"Remove {there} and run again, or name a copy with --source."
    failed = DataError(f"download of {dataset.title} failed", expected=expected, got=shortened(got, MOST), todo=todo)
    files = ", ".join(f"{name} ({_size_and_checksum(dataset, name)})" for name in dataset.checksums)
    failed.add_note(
        f"{shortened(' '.join(str(error).split()), 2000)}\n"
        f"By hand: fetch {files} from {dataset.source}, put it into {folder} and run again; or name a folder that "
        "holds an unpacked copy with --source."
    )
    return failed


def remove_partial_downloads(dataset: Dataset, folder: Path) -> None:
    """Remove what a killed download left half-unpacked; wait for a download that is still running."""
    marker = _marker(dataset, folder)
    try:
        file = marker.open("r+", encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return
    with file:
        locks.lock_or_warn(file.fileno(), folder, "downloads")  # the system drops a killed process's lock
        if marker.is_file():
            _remove(folder, file.read())
            locks.remove(marker, file)


def _remove(folder: Path, names: str) -> None:
    for name in names.splitlines():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts or path == folder:
            continue  # this package writes none of these
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _marker(dataset: Dataset, folder: Path) -> Path:
    return folder / f".{dataset.name}.unfinished"


@contextlib.contextmanager
def _marked_unfinished(dataset: Dataset, folder: Path, unpacked: Sequence[Path]) -> Iterator[None]:
    """A marker file names what the body may leave half-done; what was there before is not touched."""
    marker = _marker(dataset, folder)
    begun = "\n".join(path.relative_to(folder).as_posix() for path in unpacked if not path.exists())
    with marker.open("w", encoding="utf-8") as file:
        locks.lock_or_warn(file.fileno(), folder, "downloads")
        file.write(begun)
        file.flush()
        try:
            yield
        except BaseException:
            _remove(folder, begun)
            raise
        finally:
            locks.remove(marker, file)


@contextlib.contextmanager
def _default_timeout() -> Iterator[None]:
    """Connections without a time limit of their own get one."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SERVER_TIMEOUT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _first_wrong_file(dataset: Dataset, folder: Path, error: Exception) -> tuple[str, str, Path | None]:
    """What was expected of the first file that is not there as published, what came, and the wrong file (if any)."""
    reason = _reason(error)
    if _is_full(error):
        free = shutil.disk_usage(folder).free if folder.is_dir() else 0
        return f"room in {folder}", f"{free:,} bytes free ({reason})", None
    for name, checksum in dataset.checksums.items():
        file = folder / name
        if not file.is_file():
            return name, reason, None
        there = _checksum(file, checksum)
        if there != checksum:
            return f"{name} as published", _what_it_is(file, dataset.sizes.get(name)), file
    return f"whole archives in {folder}, to be unpacked", reason, folder


def _reason(error: Exception) -> str:
    """The last words of an error of a download: what libraries wrap around them is its note's."""
    text = " ".join(str(error).split()) or type(error).__name__
    found = re.findall(r"<urlopen error (.*?)>", text)
    return f"no connection ({found[-1]})" if found else text


def _is_full(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _what_it_is(file: Path, expected: int | None) -> str:
    """What a wrong file is."""
    size = file.stat().st_size
    with file.open("rb") as opened:
        head = opened.read(64)
    if head.lstrip()[:1] == b"<":
        return f"a web page of {size:,} bytes that starts with {head[:16]!r}"
    if expected is not None and size < expected:
        return f"the first {size:,} of {expected:,} bytes"
    return f"{size:,} bytes with another checksum"


def _size_and_checksum(dataset: Dataset, name: str) -> str:
    """Size, where it is published, and checksum of a file."""
    checksum, size = dataset.checksums[name], dataset.sizes.get(name)
    kind = "MD5" if len(checksum) == _MD5_DIGITS else "SHA-256"
    return f"{'' if size is None else f'{size:,} bytes, '}{kind} {checksum}"


def _checksum(file: Path, like: str) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "md5" if len(like) == _MD5_DIGITS else "sha256").hexdigest()
