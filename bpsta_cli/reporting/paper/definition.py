"""What a table of the paper is: its number, its data sets, its rows, and their display."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.paper.groups import SELECTIONS, Group
from bpsta_cli.reporting.paper.literature import TITLES, disagreements
from bpsta_cli.reporting.paper.study import Study
from bpsta_cli.reporting.tables import mean_sd

Row = dict[str, Any]
Columns = dict[str, Callable[[Row], str]]
"""A column's heading -> its cell in a row for readers, made from the row for CSV."""

NONE = "-"
OURS, PAPERS, LITERATURE, ELSEWHERE = "ours", "paper", "literature", "elsewhere"
"""Whose value a row holds (`source`): ours, the paper's own, another work's that the paper prints or does not print."""
WHOLE = ["T", "seeds", "epochs", "train_samples"]
ORIGIN = [
    "settings",
    "structure",
    "T",
    "seeds",
    "selection",
    "epochs",
    "trained_on",
    "stand_in",
    "train_samples",
    "split",
    "remark",
]
"""The columns of CSV in which every table describes our runs."""
METHOD_LABELS = {"ann": "ann, the ReLU twin", "stbp": "stbp, baseline"}
MEANS = (
    "Our values are means ± standard deviations (n - 1) over seeds, measured with the weights of the epoch that the "
    "column 'epoch' names."
)
CHOICE = (
    f"{MEANS} Where there are runs with several T, this table shows one T and Table 6 the others. It is the T for "
    "which most runs have a counted energy; if that leaves several, the T with most runs; then the largest T."
)
NO_RUN = "no run of this method"
"""Why the paper's values of a method stand alone where other methods have runs."""
ABOUT_PAPER = (
    "The paper's columns are about the paper's own data set, also where we trained on a stand-in; a dash in them "
    "means that the paper prints no value."
)


@dataclass(frozen=True)
class Layout:
    """What the tables of one kind have in common.

    Attributes:
        fields: CSV's columns.
        columns: the columns for readers.
        text_columns: of these, the ones that hold text.
        rows: the rows of one data set in a table of this number.
        note: what is compared and how the values were chosen.
    """

    fields: tuple[str, ...]
    columns: Columns
    text_columns: tuple[str, ...]
    rows: Callable[[Study, int, str], list[Row]]
    note: str


@dataclass(frozen=True)
class Definition:
    """One table of the paper.

    Attributes:
        number: the paper's.
        title: what it compares.
        layout: its rows and columns.
        datasets: the paper's data sets, by the catalogue's names; none: those of `Study.datasets`.
    """

    number: int
    title: str
    layout: Layout
    datasets: tuple[str, ...] = ()

    def table(self, study: Study) -> Table:
        """The table of these runs."""
        layout, datasets = self.layout, self.datasets or study.datasets(self.number)
        rows = [row for dataset in datasets for row in layout.rows(study, self.number, dataset)]
        frame = pd.DataFrame(rows, columns=list(layout.fields))
        whole = [name for name in WHOLE if name in layout.fields]
        frame[whole] = frame[whole].astype("Int64")
        display = pd.DataFrame([{title: entry(row) for title, entry in layout.columns.items()} for row in rows])
        note = layout.note + splits(group for name in datasets for group in study.groups(name))
        title = f"Table {self.number}. {self.title}"
        return Table(f"table-{self.number}", title, note, frame, display, layout.text_columns, supplementary=False)


def splits(groups: Iterable[Group]) -> str:
    """Which samples our values are of, a sentence for all data sets; nothing where nothing was run."""
    named = dict.fromkeys(f"{group.dataset}, {group.like['split']}" for group in groups)
    return f" Split: {'; '.join(named)}." if named else ""


def origin(group: Group) -> Row:
    """What every row of ours says of its runs."""
    shared = ("method", "T", "selection", "epochs", "train_samples", "split")
    return {
        "source": OURS,
        "settings": group.like["recipe"],  # the committed CSV files' heading
        "structure": group.like["network"],
        "seeds": group.seeds,
        "trained_on": group.dataset,
        "stand_in": group.stand_in,
        "remark": group.trained_on,
    } | {name: group.like[name] for name in shared}


def with_disagreements(remark: str, study: Study, own: "pd.Series[Any] | None") -> str:
    """A remark, and what in the paper contradicts the paper's row `own`."""
    known = "" if own is None else disagreements(study.literature, own)
    return "; ".join(part for part in (remark, known and f"the paper's own: {known}") if part)


def absent(study: Study, dataset: str) -> Row:
    """The row of a data set without a run."""
    return {"dataset": dataset, "source": OURS, "remark": study.absence(dataset)}


def number(row: Row, name: str, digits: int, *, sign: bool = False) -> str:
    """A value with `digits` decimals, signed where it is a difference; a dash where there is none."""
    value = row.get(name)
    if value is None or pd.isna(value):
        return NONE
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def text(row: Row, name: str) -> str:
    """The text, or a dash for none; without bars, which would end a Markdown cell."""
    value = row.get(name)
    return NONE if value is None or value == "" else str(value).replace("|", "/")


def spread(row: Row, mean: str, sd: str, digits: int) -> str:
    """ "mean ± sd", or a dash."""
    return mean_sd(row.get(mean, float("nan")), row.get(sd, float("nan")), digits)


def dataset_of(row: Row) -> str:
    """The data set that the row's values are of: the paper's, or what was trained on in its place."""
    title = TITLES.get(row["dataset"], "not known")
    return f"{row['trained_on']}, in place of {title}" if row.get("stand_in") else title


def method_of(row: Row) -> str:
    """The method, and what it is where its name does not say it."""
    return METHOD_LABELS.get(row.get("method", ""), text(row, "method"))


def epochs_of(row: Row) -> str:
    """The epoch whose weights were measured, of how many."""
    selection = row.get("selection")
    return NONE if selection is None else f"{SELECTIONS.get(selection, selection)} of {row['epochs']}"
