"""Hashes the code that decides numbers into one file: `python pipelines/digest.py training|measurement OUT`.

Which code that is, `bpsta_cli.provenance` says. The stages of every run depend on that file instead of on each module:
DVC reads and writes the whole of dvc.lock after every stage, which for some fifty runs of twenty modules took longer
than to train them.
"""

import hashlib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli import provenance


class Numbers(StrEnum):
    """Which numbers of a run."""

    TRAINING = "training"
    MEASUREMENT = "measurement"


DECIDING = {Numbers.TRAINING: provenance.TRAINING, Numbers.MEASUREMENT: provenance.MEASUREMENT}


def digests(what: Numbers) -> str:
    """A line a file, in the format of sha256sum."""
    root = provenance.PACKAGE.parent
    lines = [
        f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.relative_to(root).as_posix()}"
        for file in provenance.deciding(DECIDING[what])
    ]
    return "\n".join(lines) + "\n"


def main(
    what: Annotated[Numbers, typer.Argument(help="The numbers whose code is hashed.")],
    out: Annotated[Path, typer.Argument(help="The file with the hashes.")],
) -> None:
    """Hash the code that decides the numbers of training or of measurement into one file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(digests(what), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
