"""What to tell the user of an error that they can mend: a mistake, a full disk, too little memory."""

import errno
import re

import typer

from bpsta_cli import packages
from bpsta_cli.errors import BpstaError

UsageError = typer.BadParameter.__mro__[1]
"""Typer's base of every mistake in a command line; it is public only through its child."""
_FULL = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some of your quota there",
    errno.EFBIG: "Raise the limit on a file's size (ulimit -f), or write elsewhere",
    errno.EROFS: "Write to a folder that is not read-only",
    errno.EMFILE: "Raise the limit on open files (ulimit -n)",
    errno.ENFILE: "Close other programs: the system has too many open files",
    errno.EIO: "Check the disk",
    errno.ENOMEM: "Lower what needs the memory",
}
"""What to do of each way in which a file cannot be written that is no matter of its name."""
_NO_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|std::bad_alloc|cannot allocate memory|"
    r"failed to allocate|Unable to allocate|Cannot create .*thread",
    re.IGNORECASE,
)


def explanation(error: BaseException) -> list[str] | None:
    """The lines to tell of an error that the user can mend, none where all is said; None for one that is ours."""
    if isinstance(error, BpstaError):
        more = ["With --debug: the details, and what can be done by hand."] if getattr(error, "__notes__", []) else []
        return [*error.lines(), *more]
    if isinstance(error, typer.Abort):
        return ["aborted"]
    if isinstance(error, UsageError):
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "bpsta"
        message = error.format_message()  # type: ignore[attr-defined]
        if not message:  # a command without arguments, whose help was shown
            return []
        ended = message if message.endswith(("?", ".")) else f"{message}."
        return [ended, f"`{command} --help` explains every option."]
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _NO_MEMORY.search(str(error))):
        return out_of_memory(str(error))
    return _of_system(error) if isinstance(error, OSError) else _of_package(error)


def _of_package(error: BaseException) -> list[str] | None:
    package = packages.missing(error)
    return None if package is None else package.lacking().lines()


def _of_system(error: OSError) -> list[str] | None:
    if error.errno in _FULL:
        return [f"{error.strerror}: {error.filename or 'the output'}. {_FULL[error.errno]}, and run again."]
    if error.filename is None:
        return None
    return [f"{error.strerror}: {error.filename}. Free space there, or correct the path or its permissions."]


def out_of_memory(reason: str) -> list[str]:
    """What to lower where the memory did not suffice for work that no estimate was made of."""
    asked = f" ({' '.join(reason.split())})" if reason.strip() else ""
    return [
        f"not enough memory{asked}.",
        "Training: halve --batch-size, or give --accumulate 2 (4, 8, ...), then --recompute, or lower --T. "
        "Measuring: lower --batch or --T, or give a machine with more memory.",
    ]
