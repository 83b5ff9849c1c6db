"""What differs between a run that is there and the same run made again, and by how much."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

NO_RESULTS = ("provenance", "files")
"""Keys that are no results: where an older result came from, and checksums of files that are compared themselves."""
NAMED = 3
"""So many values that differ are named; the others are counted."""


@dataclass(frozen=True)
class Difference:
    """One file that is another.

    Attributes:
        what: the file, or the kind of measurement.
        detail: what differs and by how much, in one clause.
        largest: the largest difference of two numbers; None where none can be told.
    """

    what: str
    detail: str
    largest: float | None = None


def of_weights(there: dict[str, Tensor], again: dict[str, Tensor]) -> Difference | None:
    """The tensor that differs most; None where all are the same bits."""
    if {name: tensor.shape for name, tensor in there.items()} != {name: tensor.shape for name, tensor in again.items()}:
        return Difference("weights", "tensors of other names or shapes")
    far: dict[str, float] = {}
    for name, tensor in there.items():
        if not _same_bits(tensor, again[name]):
            far[name] = float((tensor.double() - again[name].double()).abs().max())
    if not far:
        return None
    most = max(far, key=lambda name: far[name])
    return Difference(
        "weights", f"{len(far)} of {len(there)} tensors differ, by at most {far[most]:.3g} ({most})", far[most]
    )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors are the same bytes; a NaN equals itself, and 0 is not -0."""
    flat = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return one.dtype == other.dtype and flat[0].equal(flat[1])


def of_hashes(there: str, again: str) -> Difference | None:
    """Where only the hash of the weights is there."""
    return None if there == again else Difference("weights", f"SHA-256 {there[:12]}, now {again[:12]}")


def of_history(there: str, again: str) -> Difference | None:
    """The first epoch that differs, and the largest difference; None where the texts are the same."""
    if there == again:
        return None
    before, now = (list(csv.DictReader(io.StringIO(text))) for text in (there, again))
    if not before or not now or list(before[0]) != list(now[0]) or len(before) != len(now):
        return Difference("history.csv", "other columns or another number of epochs")
    epochs = [number for number, pair in enumerate(zip(before, now, strict=True), start=1) if pair[0] != pair[1]]
    gaps = {
        (column, number): gap
        for number in epochs
        for column, old in before[number - 1].items()
        if (gap := _gap(old, now[number - 1][column])) is not None
    }
    first = f"epoch {epochs[0]} of {len(before)} is the first that differs" if epochs else "other line ends"
    if not gaps:
        return Difference("history.csv", first)
    (column, number), gap = max(gaps.items(), key=lambda item: item[1])
    return Difference("history.csv", f"{first}; at most {gap:.3g} ({column}, epoch {number})", gap)


def of_values(what: str, there: dict[str, Any], again: dict[str, Any]) -> Difference | None:
    """The values of a JSON object that differ, those of the record that is there; None where none does.

    What only the new one has is no difference: an older record lacks what was added since.
    """
    pairs = list(_pairs("", {key: value for key, value in there.items() if key not in NO_RESULTS}, again))
    differing = [(path, old, new) for path, old, new in pairs if json.dumps(old) != json.dumps(new)]
    if not differing:
        return None
    gaps = {path: gap for path, old, new in differing if (gap := _gap(old, new)) is not None}
    differing.sort(key=lambda row: -gaps.get(row[0], 0.0))
    named = ", ".join(f"{path} {_short(old)} -> {_short(new)}" for path, old, new in differing[:NAMED])
    more = f" and {len(differing) - NAMED} more of {len(pairs)} values" if len(differing) > NAMED else ""
    return Difference(what, named + more, max(gaps.values(), default=None))


def _pairs(path: str, there: Any, again: Any) -> Iterator[tuple[str, Any, Any]]:
    """Every value of `there` by its path, with that of `again`."""
    if isinstance(there, dict) and isinstance(again, dict):
        for key, value in there.items():
            yield from _pairs(f"{path}.{key}" if path else key, value, again.get(key))
    elif isinstance(there, list) and isinstance(again, list) and len(there) == len(again):
        for number, (old, new) in enumerate(zip(there, again, strict=True)):
            yield from _pairs(f"{path}[{number}]", old, new)
    else:
        yield path, there, again


def _gap(old: Any, new: Any) -> float | None:
    """The distance of two numbers, or of two texts that are numbers; None where they are none or the same."""
    try:
        return abs(float(old) - float(new)) or None
    except (TypeError, ValueError):
        return None


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
