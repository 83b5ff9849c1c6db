"""One page to look at, results/report.html: styles and pictures inside, nothing fetched, no script."""

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from bpsta_cli import files
from bpsta_cli.errors import RunError
from bpsta_cli.reporting import claims
from bpsta_cli.reporting.artifacts import Figure, Table
from bpsta_cli.reporting.origin import Origin, facts, runs_table, warnings
from bpsta_cli.reporting.overview import describe_missing

TITLE = "BPSA and BPTA: the paper's tables and figures"
LEAD = (
    "What Shen, Zhao and Zeng (Patterns 2022, doi:10.1016/j.patter.2022.100522) claim of two changes to the training "
    "of spiking networks (BPSA, BPTA), and what the runs of this clone find; then their figures and tables, filled "
    "anew."
)
UNFOLDED = {
    "not-told-apart": "{} lines on which the runs decide neither way",
    "not-tested": "{} lines that were not tested, and why",
}
"""The marks of rows that a reader unfolds, and what they are called."""
EMPTY = "{} rows without a value, and why"
VERDICTS = {"holds": "hold", "fails": "fail", "not-told-apart": "not told apart", "not-tested": "not tested"}
"""The marks of claims, and what their counts are called."""
SENTENCE = re.compile(r"(?<=[a-z0-9)%'][.]) (?=[A-Z])")
"""Between two sentences of a note."""
TIE = re.compile(r" (?=[=<±%])|(?<=[=<±]) |(?<=\bp) (?=\d)")
"""A space at which a cell's line does not end: that of "T = 8", "p < 0.001", "p 0.02", "98.1 ± 0.2 %"."""
PIXELS = 4 / 3
"""CSS pixels a point, in which matplotlib gives an SVG file's size."""


KICKER = "bpsta · results of this clone"
FOOTER = (
    "<p>Written by <code>bpsta report</code> from the results of <code>dvc repro</code>; not edited by hand. "
    "The same numbers are in\n  <code>results/tables</code> as CSV and Markdown, the pictures in "
    "<code>results/figures</code> as PNG and SVG.</p>"
)


@dataclass(frozen=True)
class Page:
    """What a page is made of.

    Attributes:
        title: its heading.
        finding: what came of it, one plain sentence; "" for none.
        lead: what it holds, sentences.
        kicker: a few words above the heading.
        footer: how it was made, HTML.
        facts: label and value of what a reader asks first.
        warnings: what a reader must know before any number.
        sections: as `section` makes them; one without content is left out.
    """

    title: str
    finding: str
    lead: str
    kicker: str
    footer: str
    facts: list[dict[str, str]]
    warnings: list[str]
    sections: list[dict[str, Any]]


def write_page(path: Path, tables: list[Table], figures: list[Figure], origin: Origin) -> None:
    """Write the page; the same bytes for the same results.

    Args:
        path: the file.
        tables: in the order they are shown, the paper's own apart from the supplementary ones.
        figures: likewise; their SVG files are taken into the page.
        origin: the runs behind them.

    Raises:
        RunError: a figure's SVG file cannot be read.
    """
    finding = " ".join(table.lead for table in tables if table.name == claims.NAME)
    sections = _sections(tables, figures, origin)
    render(path, Page(TITLE, finding, LEAD, KICKER, FOOTER, facts(origin), warnings(origin), sections))


def render(path: Path, page: Page) -> None:
    """Write a page; the same bytes for the same content."""
    import jinja2

    folder = resources("bpsta_cli.reporting") / "templates"
    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        (folder / "page.html.j2").read_text(encoding="utf-8")
    )
    shown = [with_notes_once(section) for section in page.sections if section["artifacts"] or section["list"]]
    content = vars(page) | {"sections": shown, "style": (folder / "page.css").read_text(encoding="utf-8")}
    files.write_text(path, template.render(content) + "\n")


def _sections(tables: list[Table], figures: list[Figure], origin: Origin) -> list[dict[str, Any]]:
    """What was found, then pictures, then tables that fold, then what all of it rests on."""
    own = "The literature's rows are quoted, with their source; rows of this clone are shaded."
    claimed = [table for table in tables if table.name == claims.NAME]
    tables = [table for table in tables if table.name != claims.NAME]
    missing = "Not run, or not measured, of what params.yaml asks for." if origin.missing else ""
    return [
        section("claims", "What was found", "Found", [_as_finding(table) for table in claimed]),
        section(
            "figures", "Pictures", "Pictures", map(shown_figure, [*_select(figures, False), *_select(figures, True)])
        ),
        section("tables", "The paper's tables", "Tables", map(shown_table, _select(tables, False)), own),
        section("more", "More measurements", "More", map(shown_table, _select(tables, True))),
        section("runs", "What was run", "Runs", [plain_table("runs-table", runs_table(origin), "Runs")]),
        section(
            "provenance",
            "Provenance",
            "Provenance",
            [plain_table("provenance-table", origin.provenance, "Commit, device and libraries of the runs")],
        ),
        section(
            "missing",
            "What is missing",
            "Missing",
            [],
            missing,
            describe_missing(origin.missing) or ["Nothing: every run that params.yaml asks for is here."],
        ),
    ]


def _as_finding(table: Table) -> dict[str, Any]:
    """The table of claims: never folded as a whole, and its lead stands above everything."""
    return {**shown_table(table), "folds": False, "lead": ""}


def section(
    name: str,
    title: str,
    short: str,
    artifacts: Iterable[dict[str, Any]],
    intro: str = "",
    lines: list[str] | None = None,
) -> dict[str, Any]:
    """A part of the page: its id, heading, name in the contents, tables and pictures, and lines of text."""
    return {
        "id": name,
        "title": title,
        "short": short,
        "artifacts": list(artifacts),
        "intro": intro,
        "list": lines or [],
        "notes": [],
    }


def with_notes_once(part: dict[str, Any]) -> dict[str, Any]:
    """The section with every sentence that several of its notes share said once, with whose it is, at its end."""
    owners: dict[str, list[str]] = {}
    for artifact in part["artifacts"]:
        for sentence in sentences(artifact["note"]):
            owners.setdefault(sentence, []).append(_short_title(artifact["title"]))
    shared = {sentence: tuple(names) for sentence, names in owners.items() if len(names) > 1}
    own = [
        {**artifact, "note": " ".join(each for each in sentences(artifact["note"]) if each not in shared)}
        for artifact in part["artifacts"]
    ]
    notes: dict[tuple[str, ...], list[str]] = {}
    for sentence, names in shared.items():
        notes.setdefault(names, []).append(sentence)
    said = [{"of": ", ".join(names), "text": " ".join(texts)} for names, texts in notes.items()]
    return {**part, "artifacts": own, "notes": said}


def sentences(note: str) -> list[str]:
    """A note's sentences."""
    return SENTENCE.split(note) if note else []


def _short_title(title: str) -> str:
    """ "Table 5" of "Table 5. Firing rate and energy"; other titles whole."""
    return title.partition(". ")[0]


def _select(artifacts: list[Any], supplementary: bool) -> list[Any]:
    return [artifact for artifact in artifacts if artifact.supplementary is supplementary]


def shown_table(table: Table) -> dict[str, Any]:
    """A table as the page shows it: folded as a whole, and in it the rows that say least."""
    rows = _rows(table.display, table.marks or _sources(table.frame.get("source")))
    numeric = [column not in table.text_columns for column in table.display.columns]
    groups = {UNFOLDED[mark]: [row for row in rows if row["kind"] == mark] for mark in UNFOLDED}
    if not table.marks:
        groups = {EMPTY: [row for row in rows if _is_empty(row["cells"], numeric)]}
    folded: list[dict[str, Any]] = []
    for label, found in reversed(groups.items()):  # of a table of one kind alone nothing is folded
        if found and len(found) + sum(len(group["rows"]) for group in folded) < len(rows):
            folded.insert(0, {"label": label.format(len(found)), "rows": found})
    hidden = [row for group in folded for row in group["rows"]]
    marks = [(mark, table.marks.count(mark)) for mark in VERDICTS if mark in table.marks]
    return {
        "type": "table",
        "id": table.name,
        "title": table.title,
        "note": table.note,
        "columns": [str(column) for column in table.display.columns],
        "numeric": numeric,
        "lead": table.lead,
        "marked": bool(table.marks),
        "counts": [{"kind": mark, "text": f"{count} {VERDICTS[mark]}"} for mark, count in marks],
        "counted": f"of {len(rows)} lines, one for each claim and data set" if marks else "",
        "rows": [row for row in rows if row not in hidden],
        "folded": folded,
        "folds": True,
    }


def _is_empty(cells: list[str], numeric: list[bool]) -> bool:
    """Whether every number of a row is a dash; T alone is the row's name."""
    values = [cell for cell, number in zip(cells, numeric, strict=True) if number]
    return bool(values) and all(value == "-" for value in values)


def _rows(display: pd.DataFrame, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The cells of each row, and what marks it: whose values it holds, or its verdict."""
    rows = [[TIE.sub("\u00a0", cell) for cell in row] for row in display.astype(str).to_numpy().tolist()]
    return [{"cells": row, "kind": kind} for row, kind in zip(rows, kinds or [""] * len(rows), strict=True)]


def _sources(sources: "pd.Series[str] | None") -> list[str]:
    """Whose values the rows of a table hold, where the table says it and they differ in it."""
    return [] if sources is None or sources.nunique() == 1 else list(sources)


def plain_table(name: str, frame: pd.DataFrame, title: str = "") -> dict[str, Any]:
    """A table of text."""
    columns = [str(column) for column in frame.columns]
    return {
        "type": "table",
        "id": name,
        "title": title,
        "note": "",
        "columns": columns,
        "numeric": [False] * len(columns),
        "lead": "",
        "marked": False,
        "counts": [],
        "counted": "",
        "folded": [],
        "folds": True,
        "rows": _rows(frame),
    }


def shown_figure(figure: Figure) -> dict[str, Any]:
    """A figure as the page shows it, its picture inside.

    Raises:
        RunError: its SVG file cannot be read.
    """
    source = next(file for file in figure.files if file.suffix == ".svg")
    try:
        picture = source.read_bytes()
    except OSError as refused:
        raise RunError(
            "no picture for the page",
            expected=f"the SVG file of figure {figure.name}",
            got=f"{source} ({refused.strerror})",
            todo="Run bpsta report again.",
        ) from None
    root = ElementTree.fromstring(picture)
    width, height = (round(float(root.attrib[side].removesuffix("pt")) * PIXELS) for side in ("width", "height"))
    return {
        "type": "figure",
        "id": figure.name,
        "title": figure.title,
        "note": figure.caption,
        "alt": figure.alt,
        # as an image of its own, so that equal ids in two SVG files do not meet
        "image": "data:image/svg+xml;base64," + base64.b64encode(picture).decode("ascii"),
        "width": width,
        "height": height,
    }
