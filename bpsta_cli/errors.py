"""The errors a user can cause. Imports nothing of this package: every other module may raise them."""

from functools import partial
from typing import Any


class BpstaError(Exception):
    """A known problem, told so that the reader can mend it.

    Args:
        problem: what went wrong, as a noun phrase ("unknown data set").
        expected: what would have been accepted.
        got: what was found instead.
        todo: the next step for the reader, a full sentence.
    """

    def __init__(self, problem: str, *, expected: str, got: str, todo: str) -> None:
        super().__init__(f"{problem}: expected {expected}, got {got}. {todo}")
        self.problem, self.expected, self.got, self.todo = problem, expected, got, todo

    def __reduce__(self) -> tuple[Any, ...]:
        """How a worker process hands the error over; pickle alone would call `__init__` with the message."""
        told = {"expected": self.expected, "got": self.got, "todo": self.todo}
        return partial(type(self), self.problem, **told), ()


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
