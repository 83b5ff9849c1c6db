"""The errors a user can cause. Imports nothing of this package: every other module may raise them."""

import difflib
from collections.abc import Iterable
from functools import partial
from typing import Any

LINE = 400
"""Characters of a line of an error; what is longer is shortened in its middle."""


def did_you_mean(got: str, known: Iterable[str], *, otherwise: str, cutoff: float = 0.6) -> str:
    """The next step of an error about an unknown name: the known name nearest to it, or `otherwise`.

    Args:
        got: what was given; case and "_" for "-" do not count.
        known: the names that there are.
        otherwise: the sentence where none of them is near.
        cutoff: how alike a name must be, from 0 to 1.
    """
    if len(got) > LINE:  # to compare long texts takes long
        return otherwise
    folded = {_folded(name): name for name in known}
    close = difflib.get_close_matches(_folded(got), folded, n=1, cutoff=cutoff)
    return f"Did you mean {folded[close[0]]}?" if close else otherwise


def _folded(name: str) -> str:
    return name.lower().replace("_", "-")


def shortened(text: str, most: int = LINE) -> str:
    """`text` as one printable line of at most `most` characters; what is too long loses its middle, and says so.

    Line breaks become spaces. Other control characters, and bytes of a name that is no UTF-8, are shown as escapes.
    """
    ends = text if len(text) <= 2 * most else text[:most] + text[-most:]
    flat = "".join(each if each.isprintable() else _escaped(each) for each in ends)
    if ends == text and len(flat) <= most:
        return flat
    left_out = f" [... of {len(text):,} characters ...] "
    half = (most - len(left_out)) // 2
    return flat[:half] + left_out + flat[-half:]


def _escaped(each: str) -> str:
    return " " if each.isspace() else each.encode("unicode_escape").decode("ascii")


class BpstaError(Exception):
    """A known problem, described so that the reader can solve it.

    Args:
        problem: what went wrong, as a noun phrase ("unknown data set").
        expected: what would have been accepted.
        got: what was found instead.
        todo: the next step for the reader, a full sentence.
    """

    def __init__(self, problem: str, *, expected: str, got: str, todo: str) -> None:
        super().__init__(f"{problem}: expected {expected}, got {got}. {todo}")
        self.problem, self.expected, self.got, self.todo = problem, expected, got, todo

    def lines(self) -> list[str]:
        """The message for a terminal: one line, or three where it is long."""
        parts = [f"{self.problem}: expected {self.expected},", f"got {self.got}.", self.todo]
        whole = " ".join(parts)
        return parts if len(whole) > LINE else [whole]

    def __reduce__(self) -> tuple[Any, ...]:
        """How a worker process hands the error over; pickle alone would call `__init__` with the message."""
        details = {"expected": self.expected, "got": self.got, "todo": self.todo}
        return partial(type(self), self.problem, **details), ()


class BpstaWarning(UserWarning):
    """Something that does not stop the work and that the user should know."""


class SettingsError(BpstaError):
    """A setting, option or params.yaml key that cannot be used."""


class StructureError(BpstaError):
    """A network structure that cannot be read or built."""


class DataError(BpstaError):
    """A data set, source file or prepared store that cannot be used."""


class RunError(BpstaError):
    """A run directory or checkpoint that cannot be used."""


class TrainingError(BpstaError):
    """A training run that cannot go on."""


class ExportError(BpstaError):
    """A network that a format cannot hold, or a format whose package is not there."""


class RanksError(BpstaError):
    """Processes that train one run together and cannot reach each other."""


class MemoryExhaustedError(BpstaError):
    """Work that takes more memory than there is."""
