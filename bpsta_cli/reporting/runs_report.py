"""A report of any runs, without a params.yaml: tables, curves and one page."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from bpsta_cli import files
from bpsta_cli.errors import RunError
from bpsta_cli.reporting import supplement
from bpsta_cli.reporting.any_runs import MEASURED, AnyRun, as_results
from bpsta_cli.reporting.artifacts import Figure, Table, grid, markdown, write_tables
from bpsta_cli.reporting.curves import CURVES, curves
from bpsta_cli.reporting.drawing import draw_panels
from bpsta_cli.reporting.origin import Origin, facts, provenance, runs_table, warnings
from bpsta_cli.reporting.overview import describe_missing
from bpsta_cli.reporting.page import Page, plain_table, render, section, shown_figure, shown_table
from bpsta_cli.reporting.side_by_side import Comparison, compare

LEAD = (
    "Runs of bpsta train as they lie in their directories. Only runs that differ in nothing but the seed are averaged. "
    "What else differs stands in their names, unless each method has its own value of it: see the settings."
)
PAGE, OVERVIEW = "report.html", "README.md"


@dataclass(frozen=True)
class RunsReport:
    """What was written.

    Attributes:
        tables: the tables, in order.
        figures: the figures, in order.
        files: every file, in order.
        missing: runs that are not finished, and "NAME (energy)" where a run has no such measurement.
        page: the HTML file with all of it.
    """

    tables: list[Table]
    figures: list[Figure]
    files: list[Path]
    missing: list[str]
    page: Path


def write_runs_report(runs: list[AnyRun], out: str | Path) -> RunsReport:
    """Write tables/*.csv, tables/*.md, figures/*.png, figures/*.svg, README.md and report.html into `out`.

    Args:
        runs: at least one of them finished.
        out: the folder.

    Raises:
        RunError: none is finished, or a measurement in a run's directory cannot be read.
    """
    out = Path(out)
    finished = [run for run in runs if run.metrics]
    if not finished:
        raise RunError(
            "nothing to report",
            expected="a finished run, with metrics.json",
            got=f"{runs[0].path}, which is not finished" if len(runs) == 1 else f"{len(runs)} that are not finished",
            todo="Go on with one: bpsta train --resume --out RUN.",
        )
    results = as_results(finished)
    missing = [run.name for run in runs if not run.metrics]
    missing += [f"{run.name} ({kind})" for kind in MEASURED for run in results if not vars(run)[kind]]
    tables = [table for table in (_settings(compare(runs)), *supplement.tables(results)) if not table.frame.empty]
    named = supplement.by_recipe(results)
    figures = [
        Figure(
            "curves",
            "Test accuracy over epochs",
            "Test accuracy after each epoch: mean over seeds; the band reaches from the worst to the best seed.",
            "Lines of test accuracy over epochs, one for each method; history.csv of each run holds the values.",
            tuple(draw_panels(named, out / "figures" / "curves", curves, CURVES)),
        ),
        *supplement.draw_figures(results, out / "figures"),
    ]
    written = write_tables(tables, out / "tables") + [file for figure in figures for file in figure.files]
    origins = provenance(results, {run.name: run.provenance for run in finished})
    origin = Origin(results, {}, missing, origins)
    files.write_text(out / OVERVIEW, _overview(tables, figures, origin))
    render(out / PAGE, _page(tables, figures, origin, out))
    return RunsReport(tables, figures, [*written, out / OVERVIEW, out / PAGE], missing, out / PAGE)


def _settings(comparison: Comparison) -> Table:
    display = comparison.settings_display()
    keys = list(comparison.settings)
    frame = comparison.frame()[["run", *keys]] if keys else display.iloc[:0]
    columns = tuple(map(str, display.columns))
    return Table("settings", "Settings that differ", comparison.note(), frame, display, columns)


def _overview(tables: list[Table], figures: list[Figure], origin: Origin) -> str:
    """All tables and figures on one Markdown page."""
    pictures = [
        f"### {figure.title}\n\n![{figure.alt}](figures/{figure.files[0].name})\n\n{figure.caption}\n"
        for figure in figures
    ]
    gone = [f"- {line}" for line in describe_missing(origin.missing)]
    parts = ["# Runs\n", LEAD + "\n", *map(markdown, tables), *pictures, "## Provenance\n", grid(origin.provenance)]
    return "\n".join([*parts, *(["## Missing\n", *gone, ""] if gone else [])])


def _page(tables: list[Table], figures: list[Figure], origin: Origin, out: Path) -> Page:
    what = runs_table(origin).drop(columns="stands for")  # stand-ins are a study's
    sections = [
        section("runs", "What was run", "Runs", [plain_table("runs-table", what)]),
        section("figures", "Curves", "Curves", map(shown_figure, figures)),
        section("tables", "Tables", "Tables", map(shown_table, tables)),
        section("provenance", "Provenance", "Provenance", [plain_table("provenance-table", origin.provenance)]),
        section("missing", "What is missing", "Missing", [], "", describe_missing(origin.missing)),
    ]
    footer = (
        f"<p>Written by <code>bpsta report RUN...</code>; not edited by hand. The same numbers are in "
        f"<code>{escape(str(out / 'tables'))}</code> as CSV and Markdown, the pictures in "
        f"<code>{escape(str(out / 'figures'))}</code> as PNG and SVG.</p>"
    )
    return Page("Runs side by side", "", LEAD, "bpsta · runs", footer, facts(origin), warnings(origin), sections)
