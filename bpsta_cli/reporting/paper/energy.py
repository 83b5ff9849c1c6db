"""Table 5: firing rate and energy against the ReLU twin, of the baseline and of the paper's method."""

from typing import Any

import pandas as pd

from bpsta_cli.reporting import quantised_twins
from bpsta_cli.reporting.comparison import BASELINE, probability, welch
from bpsta_cli.reporting.paper import literature
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
from bpsta_cli.reporting.paper.groups import ENERGY, Group, of_baseline
from bpsta_cli.reporting.paper.study import Study
from bpsta_cli.rules import TWIN

COMPARED = (BASELINE, "bpsta")
"""The methods of the two columns in the paper's table."""
MEASURED = ("firing_rate", *ENERGY)
COUNTED = ENERGY[1:]
"""Those of them that count what happens, and not by Eq. 1."""
SMALL_RATIOS = "counted; with memory; quantised"
"""The heading of their column, whose cells may break over lines: the table is as wide as a screen."""
QUANTISED = {"calibrated_twin": "calibrated_twin_accuracy", "quantised_twin": "quantised_twin_accuracy"}
PAPER_COLUMNS = {
    "accuracy_percent": "paper_percent",
    "firing_rate": "paper_firing_rate",
    "energy_ratio": "paper_printed_ratio",
}
FIELDS = (
    *("dataset", "source", "method", "accuracy_percent", "sd_percent", "twin_percent", "twin_seeds"),
    *("quantised_bits", *(f"{name}_{kind}" for name in QUANTISED for kind in ("percent", "sd_percent"))),
    *(f"{name}_{kind}" for name in MEASURED for kind in ("mean", "sd")),
    *("firing_rate_change_percent", "firing_rate_p", *PAPER_COLUMNS.values(), *ORIGIN),
)


def _together(row: Row, *names: str) -> str:
    """Several means in one column, so that the table fits a screen."""
    shown = [number(row, name, 2) for name in names]
    return "-" if set(shown) == {"-"} else "; ".join(shown)


COLUMNS: Columns = {
    "data set": dataset_of,
    "method": method_of,
    "T": lambda row: number(row, "T", 0),
    "accuracy, %": lambda row: spread(row, "accuracy_percent", "sd_percent", 2),
    "twin; quantised, %": lambda row: _together(row, "twin_percent", "quantised_twin_percent"),
    "firing rate": lambda row: spread(row, "firing_rate_mean", "firing_rate_sd", 3),
    "to the baseline, %": lambda row: number(row, "firing_rate_change_percent", 1, sign=True),
    "p": lambda row: probability(row.get("firing_rate_p", float("nan"))),
    "ratio by Eq. 1": lambda row: spread(row, "paper_ratio_mean", "paper_ratio_sd", 1),
    SMALL_RATIOS: lambda row: _together(row, *(f"{name}_mean" for name in COUNTED)),
    "seeds": lambda row: number(row, "seeds", 0),
    "the paper's accuracy, %": lambda row: number(row, "paper_percent", 2),
    "the paper's firing rate": lambda row: number(row, "paper_firing_rate", 3),
    "the paper's ratio": lambda row: number(row, "paper_printed_ratio", 1),
    "epoch": epochs_of,
    "remarks": lambda row: text(row, "remark"),
}
TEXT_COLUMNS = ("data set", "method", SMALL_RATIOS, "epoch", "remarks")


def rows(study: Study, table: int, dataset: str) -> list[Row]:
    """The two rules, each beside the paper's values for it; only the paper's values of a rule without a run."""
    groups = study.main(dataset)
    ours = [group for group in groups if group.like["method"] in COMPARED]
    found = [_row(study, table, dataset, group, groups) for group in ours]
    why = NO_RUN if ours else study.absence(dataset)
    for method in COMPARED:
        own = literature.printed(study.literature, table, dataset, method, 0)
        if own is not None and method not in {group.like["method"] for group in ours}:
            remark = with_disagreements(why, study, own)
            found.append(absent(study, dataset) | paper_values(own, method) | {"T": int(own["T"]), "remark": remark})
    return found or [absent(study, dataset)]


def _row(study: Study, table: int, dataset: str, group: Group, groups: list[Group]) -> Row:
    row = origin(group) | {
        "dataset": dataset,
        "accuracy_percent": group.mean("accuracy"),
        "sd_percent": group.sd("accuracy"),
    }
    for name in MEASURED:
        row |= {f"{name}_mean": group.mean(name), f"{name}_sd": group.sd(name)}
    if pd.isna(row["paper_ratio_mean"]):
        row["remark"] += "; energy not measured"
    if baseline := of_baseline(group, groups):
        rate = baseline.mean("firing_rate")
        row["firing_rate_change_percent"] = 100 * (group.mean("firing_rate") / rate - 1) if rate else float("nan")
        row["firing_rate_p"] = welch(group.values["firing_rate"], baseline.values["firing_rate"])
    for twin in groups:
        if twin.like["method"] == TWIN and twin.like["recipe"] == group.like["recipe"]:
            row |= {"twin_percent": twin.mean("accuracy"), "twin_seeds": twin.seeds}
    row |= _quantised(study, group)
    like = group.like
    own = literature.printed(study.literature, table, dataset, like["method"], like["T"], like["network"])
    if own is None:
        return row
    return row | paper_values(own, like["method"]) | {"remark": with_disagreements(row["remark"], study, own)}


def _quantised(study: Study, group: Group) -> Row:
    """The accuracies of the twins that the quantised account of these runs prices; nothing where there are none."""
    run = group.runs[0]
    found = quantised_twins.accuracies(run, study.runs)
    if not found["quantised_twin_accuracy"]:
        return {}
    row: Row = {"quantised_bits": run.energy["quantised"]["bits"]}
    for name, column in QUANTISED.items():
        values = 100 * pd.Series(found[column], dtype=float)
        row |= {f"{name}_percent": values.mean(), f"{name}_sd_percent": values.std()}
    return row


def paper_values(own: "pd.Series[Any]", method: str) -> Row:
    """What the paper prints of a method."""
    return {"method": method} | {to: own[name] for name, to in PAPER_COLUMNS.items()}


NOTE = (
    f"The table compares {BASELINE} and bpsta. {CHOICE} A ratio is the energy of the ReLU twin divided by that of the "
    "spiking network: above 1 the spiking network needs less. Eq. 1, the paper's account, is FLOPs x 4.6 pJ over "
    "FLOPs x firing rate x 0.1 pJ x T. Counted are the operations that happened, 4.6 pJ a multiply-accumulate and 0.9 "
    "pJ an addition (45 nm, Horowitz 2014), and the neurons' updates; with memory, also addresses, reads and writes "
    "(Lemaire et al. 2022); quantised, the same against a ReLU network with activations of ceil(log2(T + 1)) "
    "bits and weights of 8 (Yan et al. 2024). Beside the accuracy "
    "stand the mean accuracies of the network with ReLU in place of the neurons, where one was trained, and of its "
    "quantised form; the table of energies has the spreads of these and of the counted ratios. "
    "p is two-sided, from Welch's t-test over the "
    f"seeds' firing rates. {ABOUT_PAPER} The caption of the paper's table names its two values in the reverse of their "
    "order; here every row names its method. docs/energy.md says what each account leaves out."
)
LAYOUT = Layout(FIELDS, COLUMNS, TEXT_COLUMNS, rows, NOTE)
