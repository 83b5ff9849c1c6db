"""What a report is made of: tables and figures, each with the words that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

KEYS = ["dataset", "T", "method"]
"""What places a figure of ours: the columns that every table of runs starts with."""


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        name: its files' name.
        title: its heading, plain text.
        note: what is compared with what, and how the figures were chosen: plain text, sentences.
        frame: the figures, as CSV carries them.
        shown: the same as people read them, every entry text.
        words: the columns of `shown` that hold words and are set flush left; the others hold figures.
        supplementary: none of the paper's own tables.
        lead: what it comes to, said before it: plain text, sentences; "" for nothing.
        marks: a word for each row by which the page marks it; none: unmarked.
    """

    name: str
    title: str
    note: str
    frame: pd.DataFrame
    shown: pd.DataFrame
    words: tuple[str, ...] = tuple(KEYS)
    supplementary: bool = True
    lead: str = ""
    marks: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """The figures as JSON carries them: a dictionary a row, None where there is no figure."""
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
    return "\n".join([f"### {table.title}", "", *lead, grid(table.shown, table.words), table.note, ""])


def grid(shown: pd.DataFrame, words: Sequence[str] | None = None) -> str:
    """Rows and columns as GitHub Markdown: columns named in `words` (none: all) flush left, the others right."""
    header = "| " + " | ".join(map(str, shown.columns)) + " |"
    left = set(shown.columns if words is None else words)
    rule = "|" + "|".join("---" if column in left else "---:" for column in shown.columns) + "|"
    rows = ["| " + " | ".join(row) + " |" for row in shown.astype(str).to_numpy().tolist()]
    return "\n".join([header, rule, *rows, ""])
