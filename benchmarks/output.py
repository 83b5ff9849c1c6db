"""Where the small benchmarks put their lines."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from bpsta_cli import files


def put(lines: Iterable[str]) -> None:
    """Write the lines to the file that the command's first argument names, else print them."""
    text = "\n".join(lines) + "\n"
    if len(sys.argv) > 1:
        files.write_text(Path(sys.argv[1]), text)
    else:
        sys.stdout.write(text)
