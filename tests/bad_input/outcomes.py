"""What a bad input comes to: refused in the house's shape, accepted, or broken in one of the ways it may be."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bpsta_cli.cli.main import explanation
from bpsta_cli.errors import LINE, shortened

SECONDS = 20
ROOM = 3 << 30
"""Bytes of address space that a reader may add: none of the good files takes a thousandth."""


class TooSlowError(Exception):
    """A reader that takes longer than any good file."""


@contextmanager
def limited() -> Iterator[None]:
    """Time and memory run out soon while the context is open."""

    def alarm(_signal: int, _frame: Any) -> None:
        raise TooSlowError

    with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
        taken = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, alarm)
    resource.setrlimit(resource.RLIMIT_AS, (taken + ROOM, hard))
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def outcome(read: Callable[[], Any]) -> str:
    """ "refused: MESSAGE", "accepted", or "broken: WHY"."""
    try:
        with limited():
            read()
    except MemoryError:
        return "broken: it takes gigabytes"
    except Exception as error:
        lines = explanation(error)
        if lines is None:
            return f"broken: {type(error).__name__}: {str(error)[:200]}"
        shown = [shortened(line) for line in lines]
        if len(shown) > 3 or any(len(line) > LINE or not line.isprintable() for line in shown):
            return f"broken: a message of another shape: {shown}"
        return f"refused: {' '.join(shown)}"
    return "accepted"
