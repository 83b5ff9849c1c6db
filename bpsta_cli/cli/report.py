"""`bpsta report`: the pipeline's results, or any runs, into tables and figures."""

import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output
from bpsta_cli.errors import SettingsError

if TYPE_CHECKING:
    from bpsta_cli.reporting import Report
    from bpsta_cli.reporting.runs_report import RunsReport

RESULTS, PARAMS, OUT = Path("results"), Path("params.yaml"), Path("report")
IN_TERMINAL = ("settings", "methods", "comparison")
"""The tables that are printed; the page has all of them, which would be hundreds of lines."""


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[RUN]...",
            help="Report these run directories, whatever they are of, and no study. (default: the study's runs)",
            show_default=False,
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(help="Folder with the pipeline's results; written into. (default: results)", show_default=False),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option(help="The params.yaml that names the study's runs. (default: params.yaml)", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="With RUN: the folder that is written into. (default: report)", show_default=False),
    ] = None,
    show: Annotated[
        bool, typer.Option("--open", help="Show the page, report.html in that folder, in the web browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write tables (CSV, Markdown), figures (PNG, SVG) and one page to look at (HTML).

    Of the pipeline's results; or of the run directories that are named, whose measurements are taken in where they
    lie in them: bpsta energy RUN --out RUN/energy.json, and latency likewise.
    """
    output = Output(as_json=as_json)
    _check(runs, {"--results": results, "--params": params}, out)
    written = _of_runs(runs, out or OUT) if runs else _of_study(results or RESULTS, params or PARAMS)
    for table in written.tables:
        if table.lead:
            output.say(table.lead + "\n")
        if table.name in IN_TERMINAL:
            output.table(table.title, list(table.display.columns), table.display.astype(str).to_numpy().tolist())
            output.say(table.note + "\n")
    from bpsta_cli.reporting import describe_missing

    for line in describe_missing(written.missing):
        output.warn(f"missing: {line}")
    folder = written.page.parent
    output.say(
        f"{len(written.tables)} tables ({folder / 'tables'}) and {len(written.figures)} figures "
        f"({folder / 'figures'}), all on one page: {written.page}"
    )
    if show and not webbrowser.open(written.page.resolve().as_uri()):
        output.warn(f"no web browser could be started: open {written.page} in one")
    output.result({"files": [str(path) for path in written.files], "missing": written.missing})


def _check(runs: list[Path] | None, of_study: dict[str, Path | None], out: Path | None) -> None:
    """Refuse options of the study beside runs, and --out without them."""
    wrong = [name for name, value in of_study.items() if value is not None] if runs else ["--out"] if out else []
    if wrong:
        raise SettingsError(
            "options that do not go together",
            expected="RUN... with --out, or the study with --results and --params",
            got=f"{wrong[0]} {'beside' if runs else 'without'} RUN",
            todo=f"Leave {wrong[0]} out.",
        )


def _of_runs(runs: list[Path], out: Path) -> "RunsReport":
    from bpsta_cli.reporting.any_runs import read_runs
    from bpsta_cli.reporting.runs_report import write_runs_report

    return write_runs_report(read_runs(runs), out)


def _of_study(results: Path, params: Path) -> "Report":
    """The report of the study.

    Raises:
        SettingsError: there is none here.
    """
    from bpsta_cli.reporting import write_report

    if params == PARAMS and not params.exists():
        raise SettingsError(
            "no study in this folder",
            expected=f"{PARAMS}, or run directories to report",
            got="neither",
            todo="Write bpsta report RUN..., or name the file with --params.",
        )
    return write_report(results, params)
