"""Where a command's output goes: tables for people, with errors on standard error; one JSON object for machines."""

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bpsta_cli.cli import machine
from bpsta_cli.errors import LINE, shortened

MARK = "Error: "
NUMBER = re.compile(r"-?[\d.,]+( ± [\d.,]+)?( \S{1,2})?$|\d+(x\d+)+$|-$")
"""A number as tables show it: with its spread or a short unit, a shape, or a dash for none."""
NAME_WIDTH, TEXT_WIDTH = 20, 14
"""Least width of a table's first column and of its other texts, where they are as long: `--list` names stay whole."""


class Output:
    """One command's sink.

    With `as_json` standard output carries one JSON object (machine.py), and what is meant for people is not said. With
    `silent`, as another process of the run speaks, nothing is printed.
    """

    def __init__(self, *, as_json: bool, silent: bool = False) -> None:
        self.as_json = as_json and not silent
        self.silent = silent
        self.console = Console(quiet=as_json or silent, highlight=False, soft_wrap=not sys.stdout.isatty())

    def say(self, text: str) -> None:
        """One line for people."""
        self.console.print(Text(text))

    def warn(self, text: str) -> None:
        """One line of warning."""
        if not self.silent:
            print_warning(text)

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """A table for people: names to the left, numbers to the right and never broken over lines."""
        table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
        for place, column in enumerate(columns):
            numbers = place > 0 and all(NUMBER.match(row[place]) for row in rows)
            width = max(len(cell) for cell in (column, *(row[place] for row in rows)))
            table.add_column(
                column,
                justify="right" if numbers else "left",
                min_width=width if numbers else min(width, NAME_WIDTH if place == 0 else TEXT_WIDTH),
                overflow="fold",
            )
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    def result(self, value: dict[str, Any]) -> None:
        """The machine-readable object, where it was asked for."""
        if self.as_json:
            machine.write(value)


def print_error(*lines: str) -> None:
    """One mistake, on standard error, each line at most `LINE` characters long."""
    first, *others = lines
    text = Text(MARK, style="bold red") + Text(shortened(first, LINE - len(MARK)))
    with contextlib.suppress(OSError):  # there is nowhere left to say it
        Console(stderr=True, highlight=False).print(text, *map(shortened, others), sep="\n", soft_wrap=True)


def print_warning(message: str) -> None:
    """One warning: on standard error, or kept for the JSON object."""
    if machine.listens():
        machine.keep_warning(message)
        return
    Console(stderr=True, highlight=False).print(Text("Warning: ", style="yellow") + Text(message), soft_wrap=True)


def percent(fraction: float | None) -> str:
    """A fraction as a percentage with two decimals; a dash for none."""
    return "-" if fraction is None else f"{100 * fraction:.2f} %"


def sparse_line(shares: dict[str, float]) -> str:
    """Which convolutions were sparse, and for which share of their images."""
    return "sparse convolutions: " + (
        ", ".join(f"{name} {100 * share:.0f} %" for name, share in shares.items()) or "none in this network"
    )


def write_result(path: Path | None, value: dict[str, Any], provenance: dict[str, Any]) -> None:
    """The result as a file with its checksum, where one was asked for, and its provenance beside it.

    NAME.json holds what settings, data and code define, so that the same result is the same bytes; NAME.provenance.json
    the commit, the libraries and the machine.
    """
    if path is not None:
        from bpsta_cli import files

        files.write_json(path.with_suffix(".provenance.json"), provenance)
        files.write_checked_json(path, value)
