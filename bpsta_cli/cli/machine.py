"""What `--json` promises: one JSON object on standard output, and nothing else on either stream.

    {...the command's result...}
    {...the command's result..., "warnings": ["...", ...]}
    {"error": {"kind": "DataError", "message": "...", "problem": "...", "expected": "...", "got": "...", "todo": "...",
               "details": null}}

Warnings, which people read on standard error, are gathered and stand in the object. What code of the user's prints, a
rule's or a logger's, goes to standard error: it would make the object unreadable. Under torchrun the first process
writes the object, and the others' errors go to standard error, as for people.
"""

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, TextIO

from bpsta_cli.errors import BpstaError

OPTION, HELP = "--json", ("--help", "-h", "--version")
_warnings: ContextVar[list[str] | None] = ContextVar("warnings", default=None)
"""Of this command line; None where it speaks to people."""
_stream: ContextVar[TextIO | None] = ContextVar("stream", default=None)
"""Where the object goes; None: to standard output."""


@contextlib.contextmanager
def spoken_to(arguments: Sequence[str]) -> Iterator[None]:
    """While the body runs, the command line of these arguments speaks as they ask."""
    before = _warnings.set([] if OPTION in arguments else None)
    stream = _stream.set(sys.stdout)
    alone = OPTION in arguments and not set(arguments).intersection(HELP)
    try:
        with contextlib.redirect_stdout(sys.stderr) if alone else contextlib.nullcontext():
            yield
    finally:
        _stream.reset(stream)
        _warnings.reset(before)


def listens() -> bool:
    """Whether a machine reads, so that nothing is said but the object."""
    return _warnings.get() is not None


def keep_warning(message: str) -> None:
    """Keep a warning for the object."""
    kept = _warnings.get()
    assert kept is not None, "no machine listens"
    kept.append(message)


def write(value: dict[str, Any]) -> None:
    """The object, with the warnings of this command line."""
    kept = _warnings.get()
    whole = {**value, "warnings": kept} if kept else value
    (_stream.get() or sys.stdout).write(json.dumps(whole, ensure_ascii=False, allow_nan=False) + "\n")


def write_error(error: BaseException, lines: Sequence[str]) -> None:
    """The object of what went wrong; `lines` are what people would read."""
    own = isinstance(error, BpstaError)
    parts = {name: getattr(error, name) if own else None for name in ("problem", "expected", "got", "todo")}
    details = "\n".join(getattr(error, "__notes__", [])) or None
    message = str(error) if own else " ".join(lines)
    write({"error": {"kind": type(error).__name__, "message": message, **parts, "details": details}})
