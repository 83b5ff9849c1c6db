"""Compares the runs in a folder seed by seed, and draws accuracy against spikes.

    python pipelines/compare.py runs/study --out docs/study --baseline stbp

Writes runs.csv, comparison.csv and .md, front.csv, .png and .svg: what is in them is said in
`bpsta_cli/reporting/` by `run_table.py`, `seed_by_seed.py` and `front.py`.
"""

from pathlib import Path
from typing import Annotated

import typer

from bpsta_cli import files
from bpsta_cli.cli.output import print_error
from bpsta_cli.errors import BpstaError
from bpsta_cli.reporting.artifacts import markdown
from bpsta_cli.reporting.front import draw_front, front
from bpsta_cli.reporting.run_table import run_table
from bpsta_cli.reporting.seed_by_seed import MARGIN, RATE_MARGIN, seed_by_seed


def compare(runs: Path, out: Path, baselines: list[str], margin: float, rate_margin: float) -> str:
    """Write the tables and the picture; returns the comparison as Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    table = run_table(runs)
    comparison = seed_by_seed(table, baselines, margin=margin, rate_margin=rate_margin)
    points = front(table)
    for name, frame in (("runs", table), ("comparison", comparison.frame), ("front", points)):
        files.write_text(out / f"{name}.csv", frame.to_csv(index=False))
    files.write_text(out / "comparison.md", markdown(comparison))
    if len(points):
        draw_front(points, out / "front")
    return markdown(comparison)


def main(
    runs: Annotated[Path, typer.Argument(help="Folder with a run directory a run.")],
    out: Annotated[Path, typer.Option(help="Folder to write into.")],
    baseline: Annotated[
        list[str], typer.Option(help="What the others are compared with; of several, the first that a group has.")
    ] = ["stbp"],  # noqa: B006 - Typer reads it once
    margin: Annotated[float, typer.Option(min=0, help="Points of accuracy that do not matter.")] = MARGIN,
    rate_margin: Annotated[
        float, typer.Option(min=0, help="Percent of the firing rate that do not matter.")
    ] = RATE_MARGIN,
) -> None:
    """Compare methods seed by seed, with intervals, corrected p values and verdicts."""
    try:
        typer.echo(compare(runs, out, baseline, margin, rate_margin))
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
