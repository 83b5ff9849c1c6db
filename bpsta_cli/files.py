"""Files that are whole or not there."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bpsta_cli.errors import SettingsError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that replaces `path` when the context closes without an error, and leaves no trace otherwise.

    Raises:
        SettingsError: `path` is there and is no regular file: a folder, or a device, which would be replaced.
        OSError: it cannot be written; its `filename` is `path` where the system names none, as of a full disk.
    """
    if path.exists() and not path.is_file():
        raise SettingsError(
            "unusable place for a file",
            expected="a file to replace, or nothing",
            got=f"{path}, which is no regular file",
            todo="Give the path of a file.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode(errors="backslashreplace"))  # a name that is no UTF-8


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
