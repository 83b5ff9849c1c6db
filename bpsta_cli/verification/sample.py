"""A few of many runs that stand for all."""

from collections import Counter
from collections.abc import Sequence

from bpsta_cli.verification.record import Record


def spread(records: Sequence[Record], count: int) -> list[Record]:
    """So many of the runs, spread over data sets, methods and T; always the same, in the given order.

    One after another that is chosen whose data set, then method, then T was chosen least so far; ties go to the first.
    """
    left, chosen, seen = list(records), list[Record](), Counter[tuple[str, object]]()
    while left and len(chosen) < count:
        best = min(left, key=lambda record: [seen[mark] for mark in _marks(record)])
        left.remove(best)
        chosen.append(best)
        seen.update(_marks(best))
    return [record for record in records if record in chosen]


def _marks(record: Record) -> list[tuple[str, object]]:
    settings = record.info.settings
    return [("dataset", settings.dataset), ("method", settings.label), ("T", settings.T)]
