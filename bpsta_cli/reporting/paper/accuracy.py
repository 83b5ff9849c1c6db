"""Tables 1 to 3: accuracy beside the literature's and the paper's own."""

from typing import Any

import pandas as pd

from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.definition import (
    CHOICE,
    ELSEWHERE,
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
)
from bpsta_cli.reporting.paper.groups import Group
from bpsta_cli.reporting.paper.study import Study

FIELDS = (
    *("dataset", "source", "reference", "identifier", "quoted_from", "method", "training"),
    *("accuracy_percent", "sd_percent", "paper_percent", "difference_points", *ORIGIN),
)
BY = {OURS: "this study", PAPERS: f"{literature.PAPER}, the paper"}
BEYOND = "not in the paper's table"
"""The remark of a row whose work is not in the paper's table."""


def _accuracy(row: Row) -> str:
    return row["printed"] or NONE if "printed" in row else spread(row, "accuracy_percent", "sd_percent", 2)


COLUMNS: Columns = {
    "data set": dataset_of,
    "by": lambda row: BY.get(row["source"], text(row, "reference")),
    "method": method_of,
    "training": lambda row: text(row, "training"),
    "structure": lambda row: text(row, "structure"),
    "T": lambda row: number(row, "T", 0),
    "accuracy, %": _accuracy,
    "seeds": lambda row: number(row, "seeds", 0),
    "to the paper, points": lambda row: number(row, "difference_points", 2, sign=True),
    "epoch": epochs_of,
    "remarks": lambda row: text(row, "remark"),
}
TEXT_COLUMNS = ("data set", "by", "method", "training", "structure", "epoch", "remarks")


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """What the paper prints, in its order; then ours; then works that it does not print."""
    paper = study.literature
    found = [
        _printed(row, LITERATURE) for _, row in literature.of_others(paper, table, dataset, printed=True).iterrows()
    ]
    found += [
        _printed(row, PAPERS, literature.disagreements(paper, row))
        for _, row in literature.of_paper(paper, table, dataset).iterrows()
    ]
    groups = study.main(dataset)
    found += [_ours(study, table, dataset, group) for group in groups] or [absent(study, dataset)]
    beyond = literature.of_others(paper, table, dataset, printed=False)
    return found + [_printed(row, ELSEWHERE, BEYOND) for _, row in beyond.iterrows()]


def _printed(row: "pd.Series[Any]", source: str, remark: str = "") -> Row:
    T = row["T"]
    return {
        "dataset": row["dataset"],
        "source": source,
        "reference": row["reference"],
        "identifier": row["doi_or_arxiv"],
        "quoted_from": row["quoted_from"],
        "method": row["method"],
        "training": row["training"],
        "structure": row["structure"],
        "T": None if pd.isna(T) else int(T),
        "accuracy_percent": row["accuracy_percent"],
        "sd_percent": row["sd_percent"],
        "printed": row["printed"],
        "remark": remark,
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
    """The paper's accuracy, in percent, with which a group's may be compared.

    NaN where the paper prints none, and where the group is of a stand-in: a difference would mean nothing.
    """
    like = group.like
    row = literature.printed(study.literature, table, dataset, like["method"], like["T"], like["network"])
    return float("nan") if row is None or group.stand_in else float(row["accuracy_percent"])


NOTE = (
    f"{CHOICE} The column 'to the paper' is our mean minus the paper's value for the same method, of the same "
    "structure and T where the paper prints those. It holds a dash where we trained on a stand-in, or where the paper "
    "prints no value for the method. The paper's rows are in the paper's order; its published code keeps the epoch "
    f"that is best on the test set. Works marked '{BEYOND}' follow below, with the values that their authors report or "
    "that others quote (CSV: quoted_from)."
)
LAYOUT = Layout(FIELDS, COLUMNS, TEXT_COLUMNS, rows, NOTE)
