"""`bpsta report`: the pipeline's results into tables and figures."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli.cli.options import Json
from bpsta_cli.cli.output import Output


def report(
    results: Annotated[Path, typer.Option(help="Folder with the pipeline's results; written into.")] = Path("results"),
    params: Annotated[Path, typer.Option(help="The params.yaml that names the study's runs.")] = Path("params.yaml"),
    show: Annotated[
        bool, typer.Option("--open", help="Show the page, RESULTS/report.html, in the web browser.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write tables (CSV, Markdown), figures (PNG, SVG) and one page to look at (HTML) of the pipeline's results."""
    from bpsta_cli.reporting import describe_missing, write_report

    output = Output(as_json=as_json)
    written = write_report(results, params)
    for table in written.tables:
        if table.lead:
            output.say(table.lead)
        output.table(table.title, list(table.display.columns), table.display.astype(str).to_numpy().tolist())
        output.say(table.note + "\n")
    for line in describe_missing(written.missing):
        output.warn(f"missing: {line}")
    output.say("\n".join(map(str, written.files)))
    if show and not webbrowser.open(written.page.resolve().as_uri()):
        output.warn(f"no web browser could be started: open {written.page} in one")
    output.result({"files": [str(path) for path in written.files], "missing": written.missing})
