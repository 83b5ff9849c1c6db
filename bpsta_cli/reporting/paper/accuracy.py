"""Tables 1 to 3: accuracy beside the literature's and the paper's own."""

from typing import Any

import pandas as pd

from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.definition import (
    CHOICE,
    LITERATURE,
    NONE,
    ORIGIN,
    OURS,
    PAPERS,
    Columns,
    Layout,
    Row,
    absent,
    dataset_of,
    epochs_of,
    method_of,
    number,
    origin,
    spread,
    text,
    unknown,
)
from bpsta_cli.reporting.paper.study import Group, Study

FIELDS = (
    *("dataset", "source", "reference", "identifier", "quoted_from", "method"),
    *("accuracy_percent", "sd_percent", "paper_percent", "difference_points", *ORIGIN),
)
BY = {OURS: "this study", PAPERS: f"{literature.PAPER}, the paper"}


def _accuracy(row: Row) -> str:
    return row["printed"] or NONE if "printed" in row else spread(row, "accuracy_percent", "sd_percent", 2)


COLUMNS: Columns = {
    "data set": dataset_of,
    "by": lambda row: BY.get(row["source"], text(row, "reference")),
    "method": method_of,
    "structure": lambda row: text(row, "structure"),
    "T": lambda row: number(row, "T", 0),
    "accuracy, %": _accuracy,
    "seeds": lambda row: number(row, "seeds", 0),
    "to the paper, points": lambda row: number(row, "difference_points", 2, sign=True),
    "epoch": epochs_of,
    "trained and tested on": lambda row: text(row, "remark"),
}
WORDS = ("data set", "by", "method", "structure", "epoch", "trained and tested on")


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """The literature's rows, the paper's, then ours."""
    others = literature.of_others(study.literature, table, dataset)
    paper = literature.of_paper(study.literature, table, dataset)
    found = [_printed(row, LITERATURE) for _, row in others.iterrows()]
    found += [_printed(row, PAPERS) for _, row in paper.iterrows()] or [
        {"dataset": dataset, "source": PAPERS, "printed": "", "remark": "the paper's figure could not be read"}
    ]
    groups = study.main(dataset)
    return found + ([_ours(study, table, dataset, group) for group in groups] or [absent(study, dataset)])


def _printed(row: "pd.Series[Any]", source: str) -> Row:
    T = row["T"]
    return {
        "dataset": row["dataset"],
        "source": source,
        "reference": row["reference"],
        "identifier": row["doi_or_arxiv"],
        "quoted_from": row["quoted_from"],
        "method": row["method"],
        "structure": row["structure"],
        "T": None if pd.isna(T) else int(T),
        "accuracy_percent": row["accuracy_percent"],
        "sd_percent": row["sd_percent"],
        "printed": row["printed"],
    }


def _ours(study: Study, table: int, dataset: str, group: Group) -> Row:
    mean = group.mean("accuracy")
    paper = against_paper(study, table, dataset, group)
    return origin(group) | {
        "dataset": dataset,
        "accuracy_percent": mean,
        "sd_percent": group.sd("accuracy"),
        "paper_percent": paper,
        "difference_points": mean - paper,
    }


def against_paper(study: Study, table: int, dataset: str, group: Group) -> float:
    """The paper's accuracy, in percent, that a group's may be held against.

    NaN where the paper's is not known, and where the group is of a stand-in: a difference would mean nothing.
    """
    row = literature.printed(study.literature, table, dataset, group.like["method"], group.like["T"])
    return float("nan") if row is None or group.stand_in else float(row["accuracy_percent"])


def note(study: Study, table: int) -> str:
    """Whose figures these are and how they were chosen."""
    return (
        f"{CHOICE} To the paper: our mean less its figure for the same method, at the same T where it prints that; a "
        f"dash where ours is of a stand-in. {unknown(study, table)} The literature's rows are as their authors report "
        "or others quote them, each with its source in the CSV file; most are the best epoch on the test set."
    )


LAYOUT = Layout(FIELDS, COLUMNS, WORDS, rows, note)
