"""All tables and figures on one Markdown page, and where the runs come from."""

import pandas as pd

from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.parts import Figure, Table, grid, markdown

MOST = 6
"""Missing runs named; of more, the others are counted."""


def page(tables: list[Table], figures: list[Figure], missing: list[str], origins: pd.DataFrame) -> str:
    """The claims, the paper's tables and figures, the others of both, the runs' origins and what is missing."""
    parts = ["# Results\n", "Written by `bpsta report` from the pipeline's results; not edited by hand.\n"]
    for supplementary in (False, True):
        if supplementary:
            parts.append("## Supplementary\n")
        parts += [markdown(table) for table in tables if table.supplementary == supplementary]
        parts += [_shown(figure) for figure in figures if figure.supplementary == supplementary]
    gone = "\n".join(f"- {line}" for line in told(missing))
    return "\n".join(
        [
            *parts,
            "## Provenance\n",
            "A commit that ends in -dirty had changes that were not committed.\n",
            grid(origins),
            "## Missing\n",
            gone + "\n" if gone else "No run that params.yaml asks for is missing.\n",
        ]
    )


def told(missing: list[str]) -> list[str]:
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


def provenance(cells: list[Cell]) -> pd.DataFrame:
    """A row for each distinct origin of the runs, every entry text; `runs` counts them."""
    rows = pd.DataFrame([_origin(cell) for cell in cells])
    return rows.value_counts(sort=False).rename("runs").reset_index().astype(str)


def _origin(cell: Cell) -> dict[str, str]:
    made = cell.train["provenance"]
    return {
        "data set": cell.train["dataset"],
        "data": cell.train["data_hash"][:12],
        "commit": _short(made["commit"]),
        "device": made["device"],
        "machine": _machine(made.get("machine", {})),
        "threads": str(made["threads"]),
        "kernel": made.get("kernel") or "-",
        "python": made["python"],
        "libraries": ", ".join(f"{name} {version}" for name, version in made["libraries"].items()),
    }


def _machine(recorded: dict[str, str]) -> str:
    """What decides the last digits, less the long list of instructions; "-" for a record without it."""
    told = (recorded.get(name) for name in ("processor", "caches", "environment", "builds"))
    return "; ".join(text for text in told if text) or "-"


def _short(commit: str) -> str:
    head, _, rest = commit.partition("-")
    return head[:12] + (f"-{rest}" if rest else "")


def _shown(figure: Figure) -> str:
    picture = figure.files[0]
    return f"### {figure.title}\n\n![{figure.alt}](../{picture.parent.name}/{picture.name})\n\n{figure.caption}\n"
