"""csv: the file history.csv, which every run writes by itself, as it goes on from there."""

from typing import ClassVar

from bpsta_cli.tracking.registry import register
from bpsta_cli.tracking.rows import Ended, Row, Started


@register
class History:
    """Nothing to do: RUN/history.csv has a row for each epoch, whatever is logged beside it."""

    name: ClassVar[str] = "csv"

    def start(self, run: Started) -> None:
        """The file is the run's own."""

    def epoch(self, row: Row) -> None:
        """It is there already."""

    def finish(self, end: Ended) -> None:
        """It is closed."""
