"""What a report is made of: tables and figures, each with its title and note."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli import files

KEYS = ["dataset", "T", "method"]
"""What a value of ours belongs to: the columns with which every table of runs starts."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: its files' name.
        title: its heading, plain text.
        note: what is compared with what, and how the values were chosen: plain text, sentences.
        frame: the values, for CSV and JSON.
        display: the same values for readers, every cell text.
        text_columns: the columns of `display` that hold text and are set flush left; the others hold numbers.
        supplementary: none of the paper's own tables.
        lead: what it comes to, said before it: plain text, sentences; "" for nothing.
        marks: a word for each row by which the page marks it; none: unmarked.
    """

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    display: pd.DataFrame
    text_columns: tuple[str, ...] = tuple(KEYS)
    supplementary: bool = True
    lead: str = ""
    marks: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """The values for JSON: a dictionary a row, None where there is no value."""
        rows = self.frame.astype(object).where(self.frame.notna(), None)
        return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        name: its files' name.
        title: its heading, plain text.
        caption: what is drawn, of which runs, and how they were chosen: plain text, sentences.
        alt: what a reader who does not see it is told, one sentence.
        files: the picture as .png and as .svg, in this order.
        supplementary: none of the paper's own figures.
    """

    name: str
    title: str
    caption: str
    alt: str
    files: tuple[Path, ...]
    supplementary: bool = True


def markdown(table: Table) -> str:
    """The table as GitHub Markdown, with its title and note."""
    lead = [table.lead, ""] if table.lead else []
    return "\n".join([f"### {table.title}", "", *lead, grid(table.display, table.text_columns), table.note, ""])


def write_tables(tables: Sequence[Table], folder: Path) -> list[Path]:
    """Write each table as NAME.csv and NAME.md into `folder`; returns the files, in order."""
    written = []
    for table in tables:
        for suffix, text in ((".csv", table.frame.to_csv(index=False)), (".md", markdown(table))):
            path = folder / f"{table.name}{suffix}"
            files.write_text(path, text)
            written.append(path)
    return written


def grid(display: pd.DataFrame, text_columns: Sequence[str] | None = None) -> str:
    """Rows and columns as GitHub Markdown: those in `text_columns` (none: all) flush left, the others right."""
    header = "| " + " | ".join(map(str, display.columns)) + " |"
    left = set(display.columns if text_columns is None else text_columns)
    rule = "|" + "|".join("---" if column in left else "---:" for column in display.columns) + "|"
    rows = ["| " + " | ".join(row) + " |" for row in display.astype(str).to_numpy().tolist()]
    return "\n".join([header, rule, *rows, ""])
