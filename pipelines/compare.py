"""Compares the runs in a folder seed by seed, and draws accuracy against spikes.

    python pipelines/compare.py runs/study --out docs/study --baseline stbp
    python pipelines/compare.py docs/study/runs.csv --out docs/study --baseline stbp

Writes runs.csv, methods.md, comparison.csv and .md, over-data.csv and .md (of several data sets), front.csv, .png and
.svg: what is in them is said in `bpsta_cli/reporting/` by `run_table.py`, `at_a_glance.py`, `seed_by_seed.py`,
`over_data.py` and `front.py`. Of the second form, with a runs.csv that was made before, the others are made again, and
no run has to be at hand.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from bpsta_cli import files
from bpsta_cli.cli.output import print_error
from bpsta_cli.errors import BpstaError, SettingsError, did_you_mean
from bpsta_cli.reporting.artifacts import markdown, write_tables
from bpsta_cli.reporting.at_a_glance import at_a_glance
from bpsta_cli.reporting.front import draw_front, front
from bpsta_cli.reporting.over_data import over_data
from bpsta_cli.reporting.run_table import read_run_table, run_table
from bpsta_cli.reporting.seed_by_seed import MARGIN, RATE_MARGIN, seed_by_seed


def read(runs: Path, out: Path) -> pd.DataFrame:
    """The runs of a folder, written into runs.csv, or those of such a table."""
    if not runs.is_dir():
        return read_run_table(runs)
    table = run_table(runs)
    out.mkdir(parents=True, exist_ok=True)
    files.write_text(out / "runs.csv", table.to_csv(index=False))
    return table


def chosen(table: pd.DataFrame, column: str, wanted: list[str]) -> pd.DataFrame:
    """The rows with one of these values; all where none is named.

    Raises:
        SettingsError: no row has one of them.
    """
    known = list(dict.fromkeys(table[column]))
    for name in wanted:
        if name not in known:
            raise SettingsError(
                f"unknown {column}",
                expected=f"one of the runs': {', '.join(known)}",
                got=repr(name),
                todo=did_you_mean(name, known, otherwise="Correct it."),
            )
    return table[table[column].isin(wanted)] if wanted else table


def compare(table: pd.DataFrame, out: Path, baselines: list[str], margin: float, rate_margin: float) -> str:
    """Write what is made of these runs; returns the comparisons as Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    comparison = seed_by_seed(table, baselines, margin=margin, rate_margin=rate_margin)
    whole = over_data(comparison.frame, margin=margin, rate_margin=rate_margin)
    tables = [comparison, whole] if len(whole.frame) else [comparison]
    points = front(table)
    write_tables(tables, out)
    files.write_text(out / "front.csv", points.to_csv(index=False))
    if len(points):
        files.write_text(out / "methods.md", markdown(at_a_glance(points, comparison.frame, baselines)))
        draw_front(points, out / "front")
    return "\n".join(map(markdown, tables))


def main(
    runs: Annotated[Path, typer.Argument(help="Folder with a run directory a run, or a runs.csv made of one.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    baseline: Annotated[
        list[str], typer.Option(help="What the others are compared with; of several, the first that a group has.")
    ] = ["stbp"],  # noqa: B006 - Typer reads it once
    recipe: Annotated[list[str], typer.Option(help="Compare these alone; may be given several times.")] = [],  # noqa: B006
    method: Annotated[list[str], typer.Option(help="Compare these alone; may be given several times.")] = [],  # noqa: B006
    margin: Annotated[float, typer.Option(min=0, help="Points of accuracy that do not matter.")] = MARGIN,
    rate_margin: Annotated[
        float, typer.Option(min=0, help="Percent of the firing rate that do not matter.")
    ] = RATE_MARGIN,
) -> None:
    """Compare methods seed by seed, with intervals, corrected p values and verdicts."""
    try:
        table = chosen(chosen(read(runs, out), "recipe", recipe), "method", method)
        typer.echo(compare(table, out, baseline, margin, rate_margin))
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
