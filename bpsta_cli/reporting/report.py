"""One call from results to tables and figures."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bpsta_cli import files
from bpsta_cli.config import load_params
from bpsta_cli.reporting import claims, overview, paper, results_provenance, supplement
from bpsta_cli.reporting.artifacts import Figure, Table, write_tables
from bpsta_cli.reporting.collect import collect
from bpsta_cli.reporting.origin import Origin, provenance
from bpsta_cli.reporting.page import write_page
from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.study import Study, check_stand_ins


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        tables: the tables, in order: the claims, the paper's own, and others (`supplementary`).
        figures: the figures, likewise.
        files: every file, in order.
        missing: runs of params.yaml without results, and what was not measured of others.
        provenance: where the runs come from, every entry text: a row for each distinct origin, `runs` counts them.
        page: the HTML file with all of it.
    """

    tables: list[Table]
    figures: list[Figure]
    files: list[Path]
    missing: list[str]
    provenance: pd.DataFrame
    page: Path


def write_report(results: str | Path, params: str | Path) -> Report:
    """Write tables/*.csv, tables/*.md, tables/README.md, figures/*.png, figures/*.svg and report.html under `results`.

    provenance.json there is brought up to date (`results_provenance`), and tells tables and page where runs come from.

    Args:
        results: the folder with train/, eval/, energy/ and latency/ of the runs.
        params: the params.yaml that names the runs.

    Raises:
        RunError: no results, or unreadable ones.
        SettingsError: params.yaml cannot be used.
    """
    results = Path(results)
    settings = load_params(params)
    check_stand_ins(settings.stand_ins)
    found = collect(results, settings)
    study = Study(found.runs, settings.stand_ins, found.missing, found.asked, literature.load())
    tables = [claims.table(study), *paper.tables(study), *supplement.tables(found.runs)]
    written = write_tables(tables, results / "tables")
    folder = results / "figures"
    figures = [*paper.draw_figures(study, folder), *supplement.draw_figures(found.runs, folder)]
    written += [file for figure in figures for file in figure.files]
    made = results_provenance.update(results)
    origins = provenance(found.runs, {run.name: made[f"{results_provenance.TRAIN}/{run.name}"] for run in found.runs})
    page = results / "tables" / "README.md"
    files.write_text(page, overview.page(tables, figures, found.missing, origins))
    whole = results / "report.html"
    write_page(whole, tables, figures, Origin(found.runs, settings.stand_ins, found.missing, origins))
    written += [page, whole, results / results_provenance.NAME]
    return Report(tables, figures, written, found.missing, origins, whole)
