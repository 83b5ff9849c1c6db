"""Table 4: what BPSA, and BPSA with BPTA, add to the baseline."""

import pandas as pd

from bpsta_cli.reporting.comparison import BASELINE, P_VALUE, probability, welch
from bpsta_cli.reporting.paper import literature
from bpsta_cli.reporting.paper.accuracy import against_paper
from bpsta_cli.reporting.paper.definition import (
    ABOUT_PAPER,
    CHOICE,
    NO_RUN,
    ORIGIN,
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
    with_disagreements,
)
from bpsta_cli.reporting.paper.groups import RULES, Group, of_baseline
from bpsta_cli.reporting.paper.study import Study

GAINS = ("accuracy_percent", "sd_percent", "gain_points", "gain_p")
PAPER_GAINS = ("paper_percent", "paper_gain_points", "difference_points")
FIELDS = ("dataset", "source", "method", *GAINS, *PAPER_GAINS, *ORIGIN)
COLUMNS: Columns = {
    "data set": dataset_of,
    "method": method_of,
    "T": lambda row: number(row, "T", 0),
    "accuracy, %": lambda row: spread(row, "accuracy_percent", "sd_percent", 2),
    "seeds": lambda row: number(row, "seeds", 0),
    "to the baseline, points": lambda row: number(row, "gain_points", 2, sign=True),
    "p": lambda row: probability(row.get("gain_p", float("nan"))),
    "the paper's, %": lambda row: number(row, "paper_percent", 2),
    "the paper's gain, points": lambda row: number(row, "paper_gain_points", 2, sign=True),
    "to the paper, points": lambda row: number(row, "difference_points", 2, sign=True),
    "epoch": epochs_of,
    "remarks": lambda row: text(row, "remark"),
}
TEXT_COLUMNS = ("data set", "method", "epoch", "remarks")


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """Our rules, each beside the paper's values for it; only the paper's values of a rule without a run."""
    groups = [group for group in study.main(dataset) if group.like["method"] in RULES]
    found = [compared(study, table, dataset, group, groups) for group in groups]
    known = [method for method in RULES if literature.printed(study.literature, table, dataset, method, 0) is not None]
    others = [method for method in known if method not in {group.like["method"] for group in groups}]
    why = NO_RUN if groups else study.absence(dataset)
    found += [alone(study, table, dataset, method, 0, why) for method in others]
    return found or [absent(study, dataset)]


def compared(study: Study, table: int, dataset: str, group: Group, groups: list[Group]) -> Row:
    """A group beside its baseline, and beside the paper's values."""
    accuracy = group.values["accuracy"]
    like = group.like
    own = literature.printed(study.literature, table, dataset, like["method"], like["T"], like["network"])
    row = (
        origin(group)
        | {"dataset": dataset, "accuracy_percent": group.mean("accuracy"), "sd_percent": group.sd("accuracy")}
        | paper_values(study, table, dataset, like["method"], like["T"])
        | {"difference_points": group.mean("accuracy") - against_paper(study, table, dataset, group)}
        | {"remark": with_disagreements(group.trained_on, study, own)}
    )
    if baseline := of_baseline(group, groups):
        row["gain_points"] = group.mean("accuracy") - baseline.mean("accuracy")
        row["gain_p"] = welch(accuracy, baseline.values["accuracy"])
    return row


def alone(study: Study, table: int, dataset: str, method: str, T: int, why: str) -> Row:
    """The paper's values for a method that has no run of ours, and why it has none."""
    own = literature.printed(study.literature, table, dataset, method, T)
    steps = None if own is None or pd.isna(own["T"]) else int(own["T"])
    remark = with_disagreements(why, study, own)
    return absent(study, dataset) | paper_values(study, table, dataset, method, T) | {"T": steps, "remark": remark}


def paper_values(study: Study, table: int, dataset: str, method: str, T: int) -> Row:
    """The paper's accuracy of a method and its gain over the paper's baseline; an empty row where it prints none."""
    own = literature.printed(study.literature, table, dataset, method, T)
    if own is None:
        return {}
    baseline = literature.printed(study.literature, table, dataset, BASELINE, T)
    row: Row = {"method": method, "paper_percent": own["accuracy_percent"]}
    if baseline is not None and method != BASELINE:
        row["paper_gain_points"] = own["accuracy_percent"] - baseline["accuracy_percent"]
    return row


NOTE = f"Each rule is compared with the baseline {BASELINE} of the same recipe and T. {CHOICE} {P_VALUE} {ABOUT_PAPER}"
LAYOUT = Layout(FIELDS, COLUMNS, TEXT_COLUMNS, rows, NOTE)
