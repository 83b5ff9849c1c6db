"""Checksums inside JSON files: the last line of a file holds the SHA-256 of the rest, so that a changed bit is seen.

    {
      "accuracy": 0.98,
      "sha256": "5d41..."
    }

The sum is over the bytes of the file without that line. A file of an older version has no such line; it can be read,
but nothing vouches for it.
"""

import hashlib
import json
import re
from collections.abc import Callable
from typing import Any

KEY = "sha256"
_END = "\n}\n"
_LAST_LINE = re.compile(rb',\n  "([^"\n]*)": "([^"\n]*)"\n}\n\Z')
_LONGEST_LINE = 200


class DamagedError(ValueError):
    """A file is not as it was written; the text says what was found, as the `got` of an error does."""


def with_checksum(value: dict[str, Any]) -> str:
    """`value` as indented JSON whose last line is its checksum; `value` has at least one key."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text.removesuffix(_END)},\n  "{KEY}": "{digest}"{_END}'


def parse(content: bytes, loads: Callable[[bytes], Any] = json.loads) -> tuple[dict[str, Any], bool]:
    """What a JSON file holds, without its checksum; and whether it has one.

    Args:
        content: the file's bytes.
        loads: reads JSON.

    Raises:
        DamagedError: the checksum is not that of the rest.
        ValueError: it is no JSON object.
    """
    line = _LAST_LINE.search(content[-_LONGEST_LINE:])
    if line is not None and line[1] == KEY.encode():
        content = content[: len(content) - len(line[0])] + _END.encode()
        if hashlib.sha256(content).hexdigest().encode() != line[2]:
            raise DamagedError("another checksum than its last line says")
        return _object(loads(content)), True
    value = _object(loads(content))
    # one changed bit may hide the line: its key is another word of the same length then, or it is not the last
    if KEY in value or (line is not None and len(line[1]) == len(KEY) and re.fullmatch(rb"[0-9a-f]{64}", line[2])):
        raise DamagedError("a last line that is no checksum any more")
    return value, False


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"expected an object, got {type(value).__name__}")  # noqa: TRY004 - a ValueError as json's own
    return value
