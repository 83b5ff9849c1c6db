"""One call from results to tables and figures."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bpsta_cli import files
from bpsta_cli.config import load_params
from bpsta_cli.reporting.collect import Cell, collect
from bpsta_cli.reporting.comparison import BASELINE, against_baseline, learning
from bpsta_cli.reporting.figures import write_figures
from bpsta_cli.reporting.page import Origin, write_page
from bpsta_cli.reporting.parts import Figure, Table, grid, markdown
from bpsta_cli.reporting.tables import accuracy, energy, latency


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        tables: the tables, in order; `supplementary` tells the paper's own from the others.
        figures: the figures, likewise.
        files: every file, in order.
        missing: cells of the grid without results, and what was not measured of others.
        provenance: where the runs come from, every entry text: a row for each distinct origin, `runs` counts them.
        page: the HTML file with all of it.
    """

    tables: list[Table]
    figures: list[Figure]
    files: list[Path]
    missing: list[str]
    provenance: pd.DataFrame
    page: Path


def write_report(results: Path, params: Path) -> Report:
    """Write tables/*.csv, tables/*.md, tables/README.md, figures/*.png, figures/*.svg and report.html under `results`.

    Args:
        results: the folder with train/, energy/ and latency/ of the grid's cells.
        params: the params.yaml that names the grid.

    Raises:
        RunError: no results, or unreadable ones.
        SettingsError: params.yaml cannot be used.
    """
    settings = load_params(params)
    found = collect(results, settings)
    tables = all_tables(found.cells)
    written = []
    for table in tables:
        for suffix, text in ((".csv", table.frame.to_csv(index=False)), (".md", markdown(table))):
            path = results / "tables" / f"{table.name}{suffix}"
            files.write_text(path, text)
            written.append(path)
    figures = write_figures(found.cells, results / "figures")
    written += [file for figure in figures for file in figure.files]
    origins = provenance(found.cells)
    page = results / "tables" / "README.md"
    files.write_text(page, _page(tables, figures, found.missing, origins))
    whole = results / "report.html"
    write_page(whole, tables, figures, Origin(found.cells, settings.stand_ins, found.missing, origins))
    return Report(tables, figures, [*written, page, whole], found.missing, origins, whole)


def all_tables(cells: list[Cell]) -> list[Table]:
    """Every table that the cells can fill."""
    tables = [accuracy(cells)]
    methods = {cell.train["method"] for cell in cells}
    if BASELINE in methods and len(methods) > 1:
        tables.append(against_baseline(cells))
    tables.append(learning(cells))
    if priced := [cell for cell in cells if cell.energy]:
        tables.append(energy(priced))
    if followed := [cell for cell in cells if cell.latency]:
        tables.append(latency(followed))
    return tables


def _page(tables: list[Table], figures: list[Figure], missing: list[str], origins: pd.DataFrame) -> str:
    """All tables on one page, with where they come from."""
    gone = f"Missing: {', '.join(missing)}.\n" if missing else "No cell of the grid is missing.\n"
    return "\n".join(
        [
            "# Results\n",
            "Written by `bpsta report` from the pipeline's results; not edited by hand.\n",
            *(markdown(table) for table in tables),
            *(_shown(figure) for figure in figures),
            "### Provenance\n",
            gone,
            grid(origins),
        ]
    )


def _shown(figure: Figure) -> str:
    picture = figure.files[0]
    return f"![{figure.title}](../{picture.parent.name}/{picture.name})\n"


def provenance(cells: list[Cell]) -> pd.DataFrame:
    """A row for each distinct origin of the runs."""
    rows = pd.DataFrame(
        [
            {
                "data set": cell.train["dataset"],
                "data": cell.train["data_hash"][:12],
                "commit": _short(cell.train["provenance"]["commit"]),
                "device": cell.train["provenance"]["device"],
                "threads": str(cell.train["provenance"]["threads"]),
                "python": cell.train["provenance"]["python"],
                "torch": cell.train["provenance"]["libraries"].get("torch", "-"),
            }
            for cell in cells
        ]
    )
    return rows.value_counts(sort=False).rename("runs").reset_index().astype(str)


def _short(commit: str) -> str:
    head, _, rest = commit.partition("-")
    return head[:12] + (f"-{rest}" if rest else "")
