"""The values that the paper prints, its own and others', and those of works beyond it: `reporting/literature.csv`."""

from importlib.resources import files
from typing import Any

import pandas as pd

PAPER = "Shen et al. 2022"
"""doi:10.1016/j.patter.2022.100522, as `reference` in literature.csv."""
NAMES = {"stbp": "baseline (STBP)", "bpsa": "BPSA", "bpsta": "BPSA+BPTA"}
"""A method -> its name in the paper."""
TITLES = {
    "mnist": "MNIST",
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "n-mnist": "N-MNIST",
    "dvs-gesture": "DVS-Gesture",
    "dvs-cifar10": "DVS-CIFAR10",
    "speech-commands": "Speech Commands",
}
"""The paper's data sets in its order, and what they are called there."""
PAPER_RATIO = 4.6 / 0.1
"""Energy of a MAC over that of an AC in Eq. 1, from which each ratio of Table 5 follows: 46 / (T x firing rate)."""
HALF_A_DIGIT = 0.05 + 1e-9
"""The largest distance of a ratio, printed with one decimal, from the value before rounding."""
NUMBERS = ["T", "accuracy_percent", "sd_percent", "firing_rate", "energy_ratio"]


def load() -> pd.DataFrame:
    """A row a printed value, with the columns that docs/paper.md explains; `printed` has the accuracy's own digits."""
    with (files("bpsta_cli.reporting") / "literature.csv").open(encoding="utf-8") as file:
        return prepared(pd.read_csv(file, dtype=str))


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Text to numbers; "" where a text was not given."""
    rows = rows.assign(printed=_printed(rows), table=rows["table"].astype(int))
    rows[NUMBERS] = rows[NUMBERS].astype(float)
    texts = rows.columns.difference([*NUMBERS, "table"])
    rows[texts] = rows[texts].fillna("")
    return rows


def _printed(rows: pd.DataFrame) -> pd.Series:
    spread = (" ± " + rows["sd_percent"]).fillna("")
    return rows["accuracy_percent"] + spread


def in_paper(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Whether the paper prints a row, its own or another work's: `quoted_from` names the paper and the table."""
    return rows["quoted_from"] == PAPER + ", Table " + rows["table"].astype(str)


def of_others(rows: pd.DataFrame, table: int, dataset: str, *, printed: bool) -> pd.DataFrame:
    """Other works' rows of a table and data set: those that the paper prints, in its order, or the others."""
    there = (rows["table"] == table) & (rows["dataset"] == dataset) & (rows["reference"] != PAPER)
    return rows[there & (in_paper(rows) == printed)]


def of_paper(rows: pd.DataFrame, table: int, dataset: str, method: str | None = None) -> pd.DataFrame:
    """The paper's own rows of a table and data set, and of one method where that is given."""
    own = rows[(rows["table"] == table) & (rows["dataset"] == dataset) & (rows["reference"] == PAPER)]
    return own if method is None else own[own["method"] == NAMES.get(method)]


def printed(rows: pd.DataFrame, table: int, dataset: str, method: str, T: int, structure: str = "") -> pd.Series | None:
    """The paper's own row with which a value of ours is compared; None where there is none.

    A row of the same structure goes before others, then one of the same T, then the one that is printed first.
    """
    own = of_paper(rows, table, dataset, method)
    for column, value in (("structure", structure), ("T", T)):
        same = own[own[column] == value]
        own = own if same.empty else same
    return None if own.empty else own.iloc[0]


def disagreements(rows: pd.DataFrame, own: "pd.Series[Any]") -> str:
    """Where the paper contradicts a row of its own: another table's accuracy, or a ratio that Eq. 1 does not give.

    In words; "" where it agrees with itself.
    """
    if own["reference"] != PAPER:
        return ""
    same = (rows["reference"] == PAPER) & (rows["accuracy_percent"] != own["accuracy_percent"])
    for column in ("dataset", "method", "T", "structure"):
        same &= rows[column] == own[column]
    found = []
    for value, others in rows[same].groupby("printed", sort=False):
        tables = " and ".join(map(str, others["table"]))
        found.append(f"its Table {tables} prints {value}" if len(others) == 1 else f"its Tables {tables} print {value}")
    ratio = PAPER_RATIO / (own["T"] * own["firing_rate"])  # NaN outside of Table 5, and unequal to nothing
    if abs(ratio - own["energy_ratio"]) > HALF_A_DIGIT:
        found.append(f"its Eq. 1 gives {ratio:.1f} for the ratio {own['energy_ratio']}")
    return "; ".join(found)
