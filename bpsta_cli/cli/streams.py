"""Standard output and error where they are full, closed, or of an encoding that lacks a character."""

import errno
import os
import sys

from bpsta_cli.cli.explain import explanation
from bpsta_cli.cli.output import print_error

BROKEN_PIPE, USER_ERROR = 141, 2
"""128 + SIGPIPE, as a shell gives it of a program that the signal ended."""


def prepare() -> None:
    """Make both streams accept every text: a closed one swallows it, characters they cannot show become escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed before the program began
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
        else:
            stream.reconfigure(errors="backslashreplace")


def flushed(code: int) -> int:
    """Write what is still to be written; returns `code`, or the code of what went wrong."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:
            code = BROKEN_PIPE
        elif not code:
            print_error(*(explanation(error) or [str(error)]))
            code = USER_ERROR
    return code
