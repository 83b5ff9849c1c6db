"""One page to look at, results/report.html: styles and pictures inside, nothing fetched, no script."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pandas as pd

from bpsta_cli import files
from bpsta_cli.data import catalogue
from bpsta_cli.errors import RunError
from bpsta_cli.reporting import claims
from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.overview import told
from bpsta_cli.reporting.parts import Figure, Table
from bpsta_cli.rules import TWIN

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


@dataclass(frozen=True)
class Origin:
    """What a report was made from.

    Attributes:
        cells: the runs.
        stand_ins: a paper's data set -> what was trained on in its place.
        missing: runs that are not there, and what was not measured of others.
        provenance: a row for each distinct origin of the runs, every entry text.
    """

    cells: list[Cell]
    stand_ins: Mapping[str, str]
    missing: list[str]
    provenance: pd.DataFrame


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
    sections = [section for section in _sections(tables, figures, origin) if section["parts"] or section["list"]]
    page = template.render(
        title=TITLE,
        lead=LEAD,
        style=(folder / "page.css").read_text(encoding="utf-8"),
        facts=_facts(origin),
        warnings=_warnings(origin),
        sections=sections,
    )
    files.write_text(path, page + "\n")


def _sections(tables: list[Table], figures: list[Figure], origin: Origin) -> list[dict[str, Any]]:
    own = "The literature's rows are quoted, with their source; rows of this clone are shaded."
    claimed = [table for table in tables if table.name == claims.NAME]
    tables = [table for table in tables if table.name != claims.NAME]
    return [
        _section("claims", "Claims", "Claims", map(_table, claimed)),
        _section("runs", "What was run", "Runs", [_plain("runs-table", _runs(origin))]),
        _section("tables", "The paper's tables", "Tables", map(_table, _chosen(tables, False)), own),
        _section("figures", "The paper's figures", "Figures", map(_figure, _chosen(figures, False))),
        _section(
            "more",
            "More measurements",
            "More",
            [*map(_table, _chosen(tables, True)), *map(_figure, _chosen(figures, True))],
        ),
        _section("provenance", "Provenance", "Provenance", [_plain("provenance-table", origin.provenance)]),
        _section(
            "missing",
            "What is missing",
            "Missing",
            [],
            "Not run, or not measured, of what params.yaml asks for." if origin.missing else "",
            told(origin.missing) or ["Nothing: every run that params.yaml asks for is here."],
        ),
    ]


def _section(
    name: str,
    title: str,
    short: str,
    parts: Iterable[dict[str, Any]],
    intro: str = "",
    lines: list[str] | None = None,
) -> dict[str, Any]:
    return {"id": name, "title": title, "short": short, "parts": list(parts), "intro": intro, "list": lines or []}


def _chosen(parts: list[Any], supplementary: bool) -> list[Any]:
    return [part for part in parts if part.supplementary is supplementary]


def _table(table: Table) -> dict[str, Any]:
    rows = _rows(table.shown, table.marks or _whose(table.frame.get("source")))
    folded = [row for row in rows if row["kind"] == FOLDED]
    folded = folded if len(folded) < len(rows) else []
    return {
        "type": "table",
        "id": table.name,
        "title": table.title,
        "note": table.note,
        "columns": [str(column) for column in table.shown.columns],
        "numeric": [column not in table.words for column in table.shown.columns],
        "lead": table.lead,
        "marked": bool(table.marks),
        "rows": [row for row in rows if row not in folded],
        "folded": folded,
    }


def _rows(shown: pd.DataFrame, kinds: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Entries of each row, and what marks it: whose values it holds, or its verdict."""
    rows = shown.astype(str).to_numpy().tolist()
    return [{"cells": row, "kind": kind} for row, kind in zip(rows, kinds or [""] * len(rows), strict=True)]


def _whose(sources: "pd.Series[str] | None") -> list[str]:
    """Whose values the rows of a table hold, where it tells and they differ in it."""
    return [] if sources is None or sources.nunique() == 1 else list(sources)


def _plain(name: str, frame: pd.DataFrame) -> dict[str, Any]:
    """A table of words."""
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
        # as an image of its own: ids inside one file mean nothing to another
        "image": "data:image/svg+xml;base64," + base64.b64encode(picture).decode("ascii"),
        "width": width,
        "height": height,
    }


def _runs(origin: Origin) -> pd.DataFrame:
    """A row a data set, structure and T."""
    rows = pd.DataFrame(
        [
            {
                "data set": cell.train["dataset"],
                "structure": cell.train["network"],
                "T": cell.train["T"],
                "method": cell.train["method"],
                "seed": cell.train["seed"],
                "epochs": _epochs(cell),
                "selection": cell.train["selection"],
                "split": cell.train.get("split") or "not recorded",
            }
            for cell in origin.cells
        ]
    )
    keys = ["data set", "structure", "T", "epochs", "selection", "split"]
    grouped = rows.groupby(keys, sort=False)
    shown = grouped.agg(methods=("method", _listed), seeds=("seed", "nunique"), runs=("seed", "size")).reset_index()
    shown.insert(1, "stands for", [_stands_for(name, origin.stand_ins) for name in shown["data set"]])
    return shown[["data set", "stands for", "structure", "T", "methods", "seeds", "runs", *keys[3:]]]


def _epochs(cell: Cell) -> str:
    twin = int((cell.history["phase"] == "twin").sum()) if cell.train["method"] != TWIN else 0
    return f"{cell.train['epochs']}, {twin} of them as the twin" if twin else str(cell.train["epochs"])


def _listed(values: "pd.Series[str]") -> str:
    return ", ".join(dict.fromkeys(values))


def _stands_for(dataset: str, stand_ins: Mapping[str, str]) -> str:
    named = [catalogue.get(paper).title for paper, used in stand_ins.items() if used == dataset]
    return ", ".join(named) or "-"


def _facts(origin: Origin) -> list[dict[str, str]]:
    datasets = dict.fromkeys(cell.train["dataset"] for cell in origin.cells)
    methods = dict.fromkeys(cell.train["method"] for cell in origin.cells)
    facts = {
        "runs": str(len(origin.cells)),
        "data sets": ", ".join(datasets),
        "methods": ", ".join(methods),
        "commit": ", ".join(dict.fromkeys(origin.provenance["commit"])),
        "computed on": ", ".join(dict.fromkeys(origin.provenance["device"])),
        "missing": f"{len(origin.missing)}" if origin.missing else "nothing",
    }
    return [{"label": label, "value": value} for label, value in facts.items()]


def _warnings(origin: Origin) -> list[str]:
    """What a reader must know before any number."""
    used = {cell.train["dataset"] for cell in origin.cells}
    standing = [
        f"{stand_in} for {catalogue.get(paper).title}"
        for paper, stand_in in origin.stand_ins.items()
        if stand_in in used
    ]
    told = []
    if standing:
        told.append(
            f"Stand-ins, so that the pipeline runs without a download: {'; '.join(standing)}. Their figures say "
            "nothing of the paper's data sets and are named wherever they stand."
        )
    if made := [row for row in map(catalogue.get, sorted(used)) if row.synthetic]:
        told.append(f"{' and '.join(row.name for row in made)}: simulated, not recorded.")
    if any(commit.endswith("-dirty") for commit in origin.provenance["commit"]):
        told.append("Some runs are of a working tree with changes that are in no commit (-dirty).")
    return told
