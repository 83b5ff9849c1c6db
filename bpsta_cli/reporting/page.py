"""One page to look at, results/report.html: styles and pictures inside, nothing fetched, no script."""

import base64
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
    "Shen, Zhao and Zeng (Patterns 2022, doi:10.1016/j.patter.2022.100522) train deep spiking neural networks with "
    "gradient through the neurons that fired (BPSA) and across spikes in time (BPTA), and compare with STBP "
    "(Wu et al. 2018). This page holds that paper's tables and figures as the runs of this clone fill them."
)
FOLDED = "not-tested"
"""The mark of rows that a reader unfolds."""
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
        lead: what it holds, sentences.
        kicker: a few words above the heading.
        footer: how it was made, HTML.
        facts: label and value of what a reader asks first.
        warnings: what a reader must know before any number.
        sections: as `section` makes them; one without content is left out.
    """

    title: str
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
    found = Page(TITLE, LEAD, KICKER, FOOTER, facts(origin), warnings(origin), _sections(tables, figures, origin))
    render(path, found)


def render(path: Path, page: Page) -> None:
    """Write a page; the same bytes for the same content."""
    import jinja2

    folder = resources("bpsta_cli.reporting") / "templates"
    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        (folder / "page.html.j2").read_text(encoding="utf-8")
    )
    shown = [section for section in page.sections if section["artifacts"] or section["list"]]
    content = vars(page) | {"sections": shown, "style": (folder / "page.css").read_text(encoding="utf-8")}
    files.write_text(path, template.render(content) + "\n")


def _sections(tables: list[Table], figures: list[Figure], origin: Origin) -> list[dict[str, Any]]:
    own = "The literature's rows are quoted, with their source; rows of this clone are shaded."
    claimed = [table for table in tables if table.name == claims.NAME]
    tables = [table for table in tables if table.name != claims.NAME]
    return [
        section("claims", "Claims", "Claims", map(shown_table, claimed)),
        section("runs", "What was run", "Runs", [plain_table("runs-table", runs_table(origin))]),
        section("tables", "The paper's tables", "Tables", map(shown_table, _select(tables, False)), own),
        section("figures", "The paper's figures", "Figures", map(shown_figure, _select(figures, False))),
        section(
            "more",
            "More measurements",
            "More",
            [*map(shown_table, _select(tables, True)), *map(shown_figure, _select(figures, True))],
        ),
        section("provenance", "Provenance", "Provenance", [plain_table("provenance-table", origin.provenance)]),
        section(
            "missing",
            "What is missing",
            "Missing",
            [],
            "Not run, or not measured, of what params.yaml asks for." if origin.missing else "",
            describe_missing(origin.missing) or ["Nothing: every run that params.yaml asks for is here."],
        ),
    ]


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
    }


def _select(artifacts: list[Any], supplementary: bool) -> list[Any]:
    return [artifact for artifact in artifacts if artifact.supplementary is supplementary]


def shown_table(table: Table) -> dict[str, Any]:
    """A table as the page shows it."""
    rows = _rows(table.display, table.marks or _sources(table.frame.get("source")))
    folded = [row for row in rows if row["kind"] == FOLDED]
    folded = folded if len(folded) < len(rows) else []
    return {
        "type": "table",
        "id": table.name,
        "title": table.title,
        "note": table.note,
        "columns": [str(column) for column in table.display.columns],
        "numeric": [column not in table.text_columns for column in table.display.columns],
        "lead": table.lead,
        "marked": bool(table.marks),
        "rows": [row for row in rows if row not in folded],
        "folded": folded,
    }


def _rows(display: pd.DataFrame, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The cells of each row, and what marks it: whose values it holds, or its verdict."""
    rows = display.astype(str).to_numpy().tolist()
    return [{"cells": row, "kind": kind} for row, kind in zip(rows, kinds or [""] * len(rows), strict=True)]


def _sources(sources: "pd.Series[str] | None") -> list[str]:
    """Whose values the rows of a table hold, where the table says it and they differ in it."""
    return [] if sources is None or sources.nunique() == 1 else list(sources)


def plain_table(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A table of text."""
    columns = [str(column) for column in frame.columns]
    return {
        "type": "table",
        "id": name,
        "title": "",
        "note": "",
        "columns": columns,
        "numeric": [False] * len(columns),
        "lead": "",
        "marked": False,
        "folded": [],
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
