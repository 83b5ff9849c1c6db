"""results/provenance.json: which commit, libraries and machine made each result, kept for as long as it is the same.

A run directory has its own provenance.json, and each measurement NAME.provenance.json beside it. They are written anew
whenever something is made again, and are not in git. This file is: an entry changes only where its result does.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpsta_cli import files
from bpsta_cli.errors import RunError

NAME = "provenance.json"
TRAIN = "train"
MEASUREMENTS = ("eval", "energy", "latency")
RUN_FILES = ("settings.json", "history.csv", "metrics.json")
"""The files of a finished run that are results, beside the weights, whose SHA-256 is in metrics.json."""

Provenance = dict[str, Any]


def update(results: Path) -> dict[str, Provenance]:
    """Bring the file up to date with the results that are there.

    A result that is recorded with the bytes it has now keeps its record; another gets that of the process that made it.

    Args:
        results: the folder with train/, eval/, energy/ and latency/.

    Returns:
        The provenance of each result by its name, "train/digits-bpsta-T8-s0"; empty where nobody recorded it.

    Raises:
        RunError: a file cannot be read.
    """
    before = recorded(results)
    origins: list[dict[str, Any]] = []
    made: dict[str, Provenance] = {}
    for name, digest, fresh in _results(results):
        known = before.get(name)
        made[name] = known[1] if known and known[0] == digest else fresh
        origin = next((origin for origin in origins if origin["provenance"] == made[name]), None)
        if origin is None:
            origin = {"provenance": made[name], "results": {}}
            origins.append(origin)
        origin["results"][name] = digest
    files.write_json(results / NAME, {"origins": origins})
    return made


def recorded(results: Path) -> dict[str, tuple[str, Provenance]]:
    """What the file says of each result, by its name: the SHA-256 of its bytes, and its provenance.

    Raises:
        RunError: the file cannot be read.
    """
    content = _read(results / NAME)
    return {
        name: (digest, origin["provenance"])
        for origin in content.get("origins", [])
        for name, digest in origin["results"].items()
    }


def _results(results: Path) -> Iterator[tuple[str, str, Provenance]]:
    """Name, SHA-256 and own provenance of every result, in a fixed order."""
    for metrics in sorted((results / TRAIN).glob("*/metrics.json")):
        run = metrics.parent
        own = _read(run / NAME) or _read(metrics).get("provenance", {})
        yield f"{TRAIN}/{run.name}", _sha256([run / file for file in RUN_FILES]), own
    for kind in MEASUREMENTS:
        for file in sorted((results / kind).glob("*.json")):
            if file.name.endswith(f".{NAME}"):
                continue
            own = _read(file.with_suffix(f".{NAME}")) or _read(file).get("provenance", {})
            yield f"{kind}/{file.stem}", _sha256([file]), own


def _sha256(parts: list[Path]) -> str:
    """Of the files' bytes, one after the other; one that is not there has none."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.read_bytes() if part.is_file() else b"")
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """An object from a file; empty where there is none."""
    try:
        loaded: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as broken:
        raise RunError(
            "unreadable result", expected="JSON", got=f"{file}: {broken}", todo="Remove it and run dvc repro."
        ) from None
    return loaded
