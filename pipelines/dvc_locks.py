"""Mends what a killed DVC leaves behind, which it would ask a person to remove; `make repro` begins with it.

    python pipelines/dvc_locks.py

DVC writes dvc.lock and .dvc/tmp/rwlock in place: one that was killed in the middle leaves half a file. And an entry in
rwlock counts as long as any process has its number: one that was killed and not collected yet, or a new one that was
given the same number. Both are mended under DVC's own locks, and only where no living DVC is the owner.
"""

import contextlib
import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # comes with DVC, which looks for processes by it
import typer
import yaml

LOCK, FOLDER = Path("dvc.lock"), Path(".dvc/tmp")
WHOLE = FOLDER / "dvc.lock.whole"
"""The last dvc.lock that was found whole."""
SECONDS = 60.0
"""How long a living DVC's lock is waited for; it holds it for some seconds at most."""


@contextlib.contextmanager
def quiet(seconds: float = SECONDS) -> Iterator[bool]:
    """Hold DVC's own locks, so that none is in the middle of its book-keeping; False where they were not to be had."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as files:
        opened = [files.enter_context((FOLDER / name).open("a+")) for name in ("lock", "rwlock.lock")]
        yield all([_taken(file.fileno(), time.monotonic() + seconds) for file in opened])  # noqa: C419 - both are tried


def _taken(descriptor: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def mend(gone: tuple[int, ...] = ()) -> list[str]:
    """Mend both files; returns what was done, a line each.

    Args:
        gone: numbers of processes that are known to have ended.
    """
    with quiet() as ours:
        if not ours:
            return ["another DVC is at work: nothing was mended"]
        return [*_mend_lock(), *_mend_entries(gone)]


def _mend_lock() -> list[str]:
    if not LOCK.is_file():
        return []
    if is_whole(LOCK):
        shutil.copyfile(LOCK, WHOLE)
        return []
    why = "dvc.lock was half-written by a DVC that was killed"
    new = FOLDER / "dvc.lock.new"
    for text, what in ((_text(WHOLE), "the last whole one is there again"), (_whole_stages(), "its whole stages stay")):
        new.write_bytes(text)
        if is_whole(new):
            new.replace(LOCK)
            return [f"{why}: {what}"]
    LOCK.replace(FOLDER / "dvc.lock.half")
    return [f"{why}: moved to {FOLDER}; every stage is looked at again"]


def _text(file: Path) -> bytes:
    return file.read_bytes() if file.is_file() else b""


def _whole_stages() -> bytes:
    """Half a dvc.lock without the stage in which it was cut."""
    *whole, _ = re.split(rb"(?<=\n)(?=  \S)", _text(LOCK))
    return b"".join(whole)


def is_whole(file: Path) -> bool:
    """Whether DVC can read this dvc.lock."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    text = file.read_bytes()
    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.load(text, Loader=_loader()))
    except (yaml.YAMLError, Invalid, ValueError):
        return False
    return text.endswith(b"\n")


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _mend_entries(gone: tuple[int, ...]) -> list[str]:
    file = FOLDER / "rwlock"
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
        kept, removed = _living(entries, gone)
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, AttributeError):
        kept, removed = {}, ["half a file"]
    if not removed:
        return []
    new = file.with_suffix(".new")
    new.write_text(json.dumps(kept), encoding="utf-8")
    new.replace(file)
    return [f"removed from {file}, as its DVC has ended: {each}" for each in sorted(set(removed))]


def _living(entries: dict[str, Any], gone: tuple[int, ...]) -> tuple[dict[str, Any], list[str]]:
    """The entries of living DVCs, and the commands of the others."""
    removed: list[str] = []

    def living(entry: dict[str, Any]) -> bool:
        alive = entry["pid"] not in gone and not _is_another(entry["pid"])
        if not alive:
            removed.append(entry["cmd"])
        return alive

    write = {path: entry for path, entry in entries.get("write", {}).items() if living(entry)}
    read = {path: [entry for entry in found if living(entry)] for path, found in entries.get("read", {}).items()}
    return {"write": write, "read": {path: found for path, found in read.items() if found}}, removed


def _is_another(number: int) -> bool:
    """Whether a process of this number is there and is no DVC: DVC itself removes entries where there is none."""
    try:
        process = psutil.Process(number)
        return process.status() == psutil.STATUS_ZOMBIE or not any("dvc" in word for word in process.cmdline())
    except psutil.ZombieProcess:
        return True
    except psutil.Error:
        return False


def main() -> None:
    """Mend dvc.lock and .dvc/tmp/rwlock where a DVC that was killed left them half-written or taken."""
    for line in mend() or ["nothing to mend"]:
        typer.echo(line)


if __name__ == "__main__":
    typer.run(main)
