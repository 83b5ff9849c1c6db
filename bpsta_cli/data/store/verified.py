"""Which array files this machine has read and found whole: large ones are not read twice for their checksum.

For each version of a file (its place, size, times and inode, and the checksum that it was found to have) there is an
empty file in the user's cache. A cache that others can write to is not used.
"""

import os
from hashlib import sha256
from pathlib import Path

import platformdirs


def version(file: Path, checksum: str) -> str:
    """What changes when the file is written again."""
    stat = file.stat()
    facts = (file.resolve(), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev, checksum)
    return sha256("\0".join(map(str, facts)).encode()).hexdigest()


def is_known(version: str) -> bool:
    """Whether a file of this version was found whole before."""
    folder = _folder()
    return folder is not None and (folder / version).is_file()


def remember(version: str) -> None:
    """Note that it was; without a cache it will be read again."""
    folder = _folder()
    if folder is not None:
        (folder / version).touch(mode=0o600)


def _folder() -> Path | None:
    named = os.environ.get("BPSTA_CACHE")
    folder = (Path(named) if named else platformdirs.user_cache_path("bpsta")) / "verified"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        stat = folder.stat()
    except OSError:
        return None
    # on Windows the folder of a user's caches is the user's, and these bits say nothing
    mine = not hasattr(os, "getuid") or (stat.st_uid == os.getuid() and not stat.st_mode & 0o022)
    return folder if mine and os.access(folder, os.W_OK) else None
