"""One page to look at, results/report.html: styles and pictures inside, nothing fetched, no script."""

import base64
from collections.abc import Iterable, Sequence
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
    import jinja2

    folder = resources("bpsta_cli.reporting") / "templates"
    template = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined).from_string(
        (folder / "page.html.j2").read_text(encoding="utf-8")
    )
    sections = [section for section in _sections(tables, figures, origin) if section["artifacts"] or section["list"]]
    page = template.render(
        title=TITLE,
        lead=LEAD,
        style=(folder / "page.css").read_text(encoding="utf-8"),
        facts=facts(origin),
        warnings=warnings(origin),
        sections=sections,
    )
    files.write_text(path, page + "\n")


def _sections(tables: list[Table], figures: list[Figure], origin: Origin) -> list[dict[str, Any]]:
    own = "The literature's rows are quoted, with their source; rows of this clone are shaded."
    claimed = [table for table in tables if table.name == claims.NAME]
    tables = [table for table in tables if table.name != claims.NAME]
    return [
        _section("claims", "Claims", "Claims", map(_table, claimed)),
        _section("runs", "What was run", "Runs", [_plain("runs-table", runs_table(origin))]),
        _section("tables", "The paper's tables", "Tables", map(_table, _select(tables, False)), own),
        _section("figures", "The paper's figures", "Figures", map(_figure, _select(figures, False))),
        _section(
            "more",
            "More measurements",
            "More",
            [*map(_table, _select(tables, True)), *map(_figure, _select(figures, True))],
        ),
        _section("provenance", "Provenance", "Provenance", [_plain("provenance-table", origin.provenance)]),
        _section(
            "missing",
            "What is missing",
            "Missing",
            [],
            "Not run, or not measured, of what params.yaml asks for." if origin.missing else "",
            describe_missing(origin.missing) or ["Nothing: every run that params.yaml asks for is here."],
        ),
    ]


def _section(
    name: str,
    title: str,
    short: str,
    artifacts: Iterable[dict[str, Any]],
    intro: str = "",
    lines: list[str] | None = None,
) -> dict[str, Any]:
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


def _table(table: Table) -> dict[str, Any]:
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


def _plain(name: str, frame: pd.DataFrame) -> dict[str, Any]:
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


def _figure(figure: Figure) -> dict[str, Any]:
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
