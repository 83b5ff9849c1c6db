"""One call from results to tables and figures."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bpsta_cli import files
from bpsta_cli.config import load_params
from bpsta_cli.reporting.collect import Cell, collect
from bpsta_cli.reporting.comparison import BASELINE, against_baseline, learning
from bpsta_cli.reporting.figures import write_figures
from bpsta_cli.reporting.tables import Table, accuracy, energy, latency, markdown


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        tables: the tables.
        files: every file, in order.
        missing: cells of the grid without results.
    """

    tables: list[Table]
    files: list[Path]
    missing: list[str]


def write_report(results: Path, params: Path) -> Report:
    """Write tables/*.csv, tables/*.md, figures/*.png, figures/*.svg and README.md under `results`.

    Args:
        results: the folder with train/, energy/ and latency/ of the grid's cells.
        params: the params.yaml that names the grid.

    Raises:
        RunError: no results, or unreadable ones.
        SettingsError: params.yaml cannot be used.
    """
    found = collect(results, load_params(params))
    tables = all_tables(found.cells)
    written = []
    for table in tables:
        for suffix, text in ((".csv", table.frame.to_csv(index=False)), (".md", markdown(table))):
            path = results / "tables" / f"{table.name}{suffix}"
            files.write_text(path, text)
            written.append(path)
    written += write_figures(found.cells, results / "figures")
    page = results / "tables" / "README.md"
    files.write_text(page, _page(tables, found.cells, found.missing))
    return Report(tables, [*written, page], found.missing)


def all_tables(cells: list[Cell]) -> list[Table]:
    """Every table that the cells can fill."""
    tables = [accuracy(cells)]
    methods = {cell.train["method"] for cell in cells}
    if BASELINE in methods and len(methods) > 1:
        tables.append(against_baseline(cells))
    tables.append(learning(cells))
    if priced := [cell for cell in cells if cell.energy]:
        tables.append(energy(priced))
    if followed := _followed(cells):
        tables.append(latency(followed))
    return tables


def _followed(cells: list[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.latency]


def _page(tables: list[Table], cells: list[Cell], missing: list[str]) -> str:
    """All tables on one page, with where they come from."""
    gone = f"Missing: {', '.join(missing)}.\n" if missing else "No cell of the grid is missing.\n"
    return "\n".join(
        [
            "# Results\n",
            "Written by `bpsta report` from the pipeline's results; not edited by hand.\n",
            *(markdown(table) for table in tables),
            "![Test accuracy over epochs](../figures/test-curves.png)\n",
            *(["![Test accuracy over time steps](../figures/accuracy-over-time.png)\n"] if _followed(cells) else []),
            "### Provenance\n",
            gone,
            _provenance(cells),
        ]
    )


def _provenance(cells: list[Cell]) -> str:
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
    counted = rows.value_counts(sort=False).rename("runs").reset_index()
    header = "| " + " | ".join(counted.columns) + " |"
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in counted.to_numpy().tolist()]
    return "\n".join([header, "|" + "---|" * len(counted.columns), *lines, ""])


def _short(commit: str) -> str:
    head, _, rest = commit.partition("-")
    return head[:12] + (f"-{rest}" if rest else "")
