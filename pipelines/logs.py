"""What a process said last in its log."""

from pathlib import Path

TAIL = 10_000
"""Bytes of a log that are looked at."""
WIDTH = 400
"""Characters of a line that are shown."""


def last_line(log: Path) -> str:
    """The last line that holds anything; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    lines = text.replace("\r", "\n").split("\n")
    return next((line.strip()[:WIDTH] for line in reversed(lines) if line.strip()), "")
