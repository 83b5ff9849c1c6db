"""Hashes the code that decides numbers into one file: `python pipelines/digest.py training|measurement OUT`.

Which code that is, `bpsta_cli.provenance` says. The stages of every run depend on that file instead of on each module:
DVC reads and writes the whole of dvc.lock after every stage, which for some fifty runs of twenty modules took longer
than to train them.
"""

import hashlib
import sys
from pathlib import Path

from bpsta_cli import provenance

DECIDING = {"training": provenance.TRAINING, "measurement": provenance.MEASUREMENT}


def digests(what: str) -> str:
    """A line a file, as sha256sum writes it."""
    root = provenance.PACKAGE.parent
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(root).as_posix()}"
        for file in provenance.deciding(DECIDING[what])
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(digests(sys.argv[1]), encoding="utf-8")
