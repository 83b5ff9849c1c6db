"""results/provenance.json: which commit, libraries and machine made each result, kept for as long as it is the same.

A run directory has its own provenance.json, and each measurement NAME.provenance.json beside it. They are written anew
whenever something is made again, and are not in git. This file is: an entry changes only where its result does.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bpsta_cli import files
from bpsta_cli.errors import RunError
from bpsta_cli.reading import MissingError, UnreadableError, content, documents
from bpsta_cli.reporting import records

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
    file = results / NAME
    found: dict[str, tuple[str, Provenance]] = {}
    try:
        for origin in _read(file).get("origins", []):
            records.check(file, "provenance", origin["provenance"])
            found |= {name: (digest, origin["provenance"]) for name, digest in origin["results"].items()}
    except (KeyError, TypeError, AttributeError):
        raise _unreadable(file, "origins, each with provenance and results", "others") from None
    return found


def _results(results: Path) -> Iterator[tuple[str, str, Provenance]]:
    """Name, SHA-256 and own provenance of every result, in a fixed order."""
    for metrics in sorted((results / TRAIN).glob("*/metrics.json")):
        run = metrics.parent
        own = _own(run / NAME, metrics)
        yield f"{TRAIN}/{run.name}", _sha256([run / file for file in RUN_FILES]), own
    for kind in MEASUREMENTS:
        for file in sorted((results / kind).glob("*.json")):
            if file.name.endswith(f".{NAME}"):
                continue
            own = _own(file.with_suffix(f".{NAME}"), file)
            yield f"{kind}/{file.stem}", _sha256([file]), own


def _own(file: Path, result: Path) -> Provenance:
    """What the file beside a result says, else an older result itself."""
    found: Provenance = _read(file) or _read(result).get("provenance", {})
    records.check(file, "provenance", found)
    return found


def _sha256(parts: list[Path]) -> str:
    """Of the files' bytes, one after the other; one that is not there has none."""
    digest = hashlib.sha256()
    for part in parts:
        try:
            digest.update(content(part))
        except MissingError:
            continue
        except UnreadableError as broken:
            raise _unreadable(part, broken.expected, broken.got) from None
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Any]:
    """An object from a file; empty where there is none."""
    try:
        return documents.json_object(file)
    except MissingError:
        return {}
    except UnreadableError as broken:
        raise _unreadable(file, broken.expected, broken.got) from None


def _unreadable(file: Path, expected: str, got: str) -> RunError:
    return RunError("unreadable result", expected=expected, got=f"{file}: {got}", todo="Remove it and run dvc repro.")
