"""The figures that others printed, the paper's own among them: `reporting/literature.csv`."""

from importlib.resources import files

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
NUMBERS = ["T", "accuracy_percent", "sd_percent", "firing_rate", "energy_ratio"]


def load() -> pd.DataFrame:
    """A row a printed figure, as docs/paper.md explains the columns; `printed` is the accuracy to its own digits."""
    with (files("bpsta_cli.reporting") / "literature.csv").open(encoding="utf-8") as file:
        return prepared(pd.read_csv(file, dtype=str))


def prepared(rows: pd.DataFrame) -> pd.DataFrame:
    """Text to numbers; "" where a text was not given."""
    rows = rows.assign(printed=_printed(rows), table=rows["table"].astype(int))
    rows[NUMBERS] = rows[NUMBERS].astype(float)
    words = rows.columns.difference([*NUMBERS, "table"])
    rows[words] = rows[words].fillna("")
    return rows


def _printed(rows: pd.DataFrame) -> pd.Series:
    spread = (" ± " + rows["sd_percent"]).fillna("")
    return rows["accuracy_percent"] + spread


def of_others(rows: pd.DataFrame, table: int, dataset: str) -> pd.DataFrame:
    """Other works' rows of a table and data set."""
    return rows[(rows["table"] == table) & (rows["dataset"] == dataset) & (rows["reference"] != PAPER)]


def of_paper(rows: pd.DataFrame, table: int, dataset: str, method: str | None = None) -> pd.DataFrame:
    """The paper's own rows of a table and data set, and of one method where that is given."""
    own = rows[(rows["table"] == table) & (rows["dataset"] == dataset) & (rows["reference"] == PAPER)]
    return own if method is None else own[own["method"] == NAMES.get(method)]


def printed(rows: pd.DataFrame, table: int, dataset: str, method: str, T: int) -> pd.Series | None:
    """The paper's own row that a figure of ours is held against; None where there is none.

    Rows of the same T go before others; of several structures the most accurate counts.
    """
    own = of_paper(rows, table, dataset, method)
    same = own[own["T"] == T]
    candidates = (own if same.empty else same).sort_values("accuracy_percent", ascending=False, kind="stable")
    return None if candidates.empty else candidates.iloc[0]
