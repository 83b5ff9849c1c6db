"""Progress with rate and remaining time: a bar on a terminal, a line now and then elsewhere, nothing with --json."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bpsta_cli.cli import machine

QUIET_SECONDS = 2.0
"""Work shorter than this shows nothing."""
LINE_SECONDS = 10.0
"""Time between lines where there is no terminal."""


class Bar:
    """Shows how far a piece of work is; a context manager.

    Args:
        unit: what is counted, for the rate ("samples").
        silent: whether another process shows it.
    """

    def __init__(self, unit: str, *, silent: bool = False) -> None:
        self.unit, self.silent = unit, silent
        self.console = Console(stderr=True, highlight=False)
        self.began = time.monotonic()
        self.last_line = self.began
        self.first = self.done = 0
        self.total: int | None = None
        self.rich: Progress | None = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.rich is not None:
            self.rich.stop()

    def update(self, done: int, total: int, label: str) -> None:
        """`done` of `total` units; `label` says what is being worked on."""
        if machine.listens():
            return
        now = time.monotonic()
        if total != self.total or done < self.done:  # other work, as of the next split; a resumed run begins anywhere
            self.first, self.began = done, now
        self.done, self.total = done, total
        if self.silent or now - self.began < QUIET_SECONDS:
            return
        total = max(total, 1)
        rate = (done - self.first) / (now - self.began)
        if self.console.is_terminal:
            self._bar(done, total, f"{label} ({rate:,.0f} {self.unit}/s)")
        elif now - self.last_line >= LINE_SECONDS:
            self.last_line = now
            left = (total - done) / rate if rate else float("inf")
            sys.stderr.write(f"{label}: {done}/{total} {self.unit}, {rate:,.0f}/s, {left:.0f} s left\n")

    def _bar(self, done: int, total: int, label: str) -> None:
        if self.rich is None:
            self.rich = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                console=self.console,
                transient=True,
            )
            self.rich.add_task(label, total=total)
            self.rich.start()
        self.rich.update(self.rich.task_ids[0], completed=done, total=total, description=label)
