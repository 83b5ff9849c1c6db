"""Locks on open files, which the system frees when their process ends, however it ends; `filelock` has them."""

import contextlib
import errno
import os
import warnings
from pathlib import Path
from typing import IO, Any

from filelock import lock_descriptor

from bpsta_cli.errors import BpstaWarning

OPEN_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
"""For the opening of a file that is to be locked: no link is followed and no pipe waited for, where the system can."""
CLOSE_FIRST = os.name == "nt"
"""Windows neither renames nor removes a file that is open."""
_UNSUPPORTED = {errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What a file system says that has no locks, as some network file systems do not unless they are mounted so."""


class NoLocksError(OSError):
    """The file system, or this Python, has no locks; the text says what it said."""


def lock(descriptor: int, *, wait: bool = True) -> bool:
    """Lock an open file against every other process, and every other opening of it here; it is free once it is closed.

    Args:
        descriptor: of a file that is open for writing.
        wait: whether to wait for another's lock to end.

    Returns:
        Whether it is held: False where another holds it and `wait` is not set.

    Raises:
        NoLocksError: there are no locks here.
        OSError: it cannot be locked for another reason.
    """
    try:
        return lock_descriptor(descriptor, blocking=wait)
    except OSError as refused:
        if refused.errno in _UNSUPPORTED:
            raise NoLocksError(refused.strerror) from None
        raise


def lock_or_warn(descriptor: int, folder: Path, does: str, *, wait: bool = True) -> bool:
    """The same where there may be no locks: then True, with a warning.

    Args:
        descriptor: as in `lock`.
        folder: where the file is.
        does: what nobody else should do there meanwhile, as in "trains".
        wait: as in `lock`.

    Warns:
        BpstaWarning: there are no locks here.
    """
    try:
        return lock(descriptor, wait=wait)
    except NoLocksError as refused:
        warnings.warn(
            f"{folder} lies on a file system without locks ({refused}): take care that nothing else {does} there.",
            BpstaWarning,
            stacklevel=3,
        )
        return True


def remove(file: Path, opened: IO[Any]) -> None:
    """Remove a locked file and close it, in this order: whoever waits for its lock then finds that it is gone.

    Where an open file cannot be removed, it is closed first, and stays if another has opened it by then.
    """
    if not CLOSE_FIRST:
        file.unlink(missing_ok=True)
    opened.close()
    if CLOSE_FIRST:
        with contextlib.suppress(PermissionError):
            file.unlink(missing_ok=True)
