"""Picks the backend of the neuron; says which and why."""

from __future__ import annotations

import difflib
from typing import NamedTuple

from bpsta_cli.errors import SettingsError

BACKENDS = ("auto", "reference")


class Choice(NamedTuple):
    """The backend that runs, and the reason in one clause."""

    name: str
    why: str


def choose(backend: str = "auto") -> Choice:
    """Pick a backend.

    Args:
        backend: "auto", or the name of one.

    Raises:
        SettingsError: unknown backend.
    """
    if backend not in BACKENDS:
        close = difflib.get_close_matches(backend.lower(), BACKENDS, n=1)
        raise SettingsError(
            "unknown backend",
            expected=f"one of {', '.join(BACKENDS)}",
            got=f'"{backend}"',
            todo=f'Did you mean "{close[0]}"?' if close else '"auto" picks one that runs here.',
        )
    if backend == "auto":
        return Choice("reference", "the only backend; it runs on every device")
    return Choice(backend, "asked for by name")
