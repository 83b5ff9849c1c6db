"""All tables and figures on one Markdown page."""

import pandas as pd

from bpsta_cli.reporting.artifacts import Figure, Table, grid, markdown

MOST = 6
"""So many missing runs are named; the others are counted."""


def page(tables: list[Table], figures: list[Figure], missing: list[str], origins: pd.DataFrame) -> str:
    """The claims, the paper's tables and figures, the others of both, the runs' origins and what is missing."""
    page = ["# Results\n", "Written by `bpsta report` from the pipeline's results; not edited by hand.\n"]
    for supplementary in (False, True):
        if supplementary:
            page.append("## Supplementary\n")
        page += [markdown(table) for table in tables if table.supplementary == supplementary]
        page += [_picture(figure) for figure in figures if figure.supplementary == supplementary]
    gone = "\n".join(f"- {line}" for line in describe_missing(missing))
    return "\n".join(
        [
            *page,
            "## Provenance\n",
            "A commit that ends in -dirty had changes that were not committed.\n",
            grid(origins),
            "## Missing\n",
            gone + "\n" if gone else "No run that params.yaml asks for is missing.\n",
        ]
    )


def describe_missing(missing: list[str]) -> list[str]:
    """What is missing, in lines: runs that are not there, then what was not measured of others."""
    kinds: dict[str, list[str]] = {}
    for name in missing:
        run, _, kind = name.partition(" (")
        kinds.setdefault(kind.removesuffix(")"), []).append(run)
    lines = []
    for kind, runs in sorted(kinds.items()):
        more = f" and {len(runs) - MOST} more" if len(runs) > MOST else ""
        lines.append(f"{f'{kind} of' if kind else 'not there:'} {', '.join(runs[:MOST])}{more}")
    return lines


def _picture(figure: Figure) -> str:
    png = figure.files[0]
    return f"### {figure.title}\n\n![{figure.alt}](../{png.parent.name}/{png.name})\n\n{figure.caption}\n"
