"""The tables: a row a data set, T and method, with mean and standard deviation over seeds."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from bpsta_cli.reporting.collect import Cell
from bpsta_cli.reporting.parts import KEYS, Table

DESCRIPTIONS = ["network", "epochs", "selection", "samples", "split"]
"""Columns that say how a figure was got, the same for every seed."""


def accuracy(cells: list[Cell]) -> Table:
    """Test accuracy and firing rate."""
    frame = over_seeds(
        {
            **keys_of(cell),
            "accuracy": cell.train["accuracy"],
            "firing_rate": cell.train["firing_rate"],
            "network": cell.train["network"],
            "epochs": cell.train["epochs"],
            "selection": cell.train["selection"],
        }
        for cell in cells
    )
    shown = shown_as(frame, {"accuracy": ("accuracy, %", 100, 2), "firing_rate": ("firing rate", 1, 4)})
    for column in ("seeds", "network", "epochs", "selection"):
        shown[column] = frame[column].astype(str)
    note = f"Mean ± standard deviation over seeds. {splits(frame)}"
    return Table("accuracy", "Test accuracy", note, frame, shown)


def energy(cells: list[Cell]) -> Table:
    """The energy accounts, per sample."""
    frame = over_seeds(
        {
            **keys_of(cell),
            "firing_rate": cell.energy["firing_rate"],
            "paper_ratio": cell.energy["paper"]["ratio"],
            "counted_ratio": cell.energy["counted"]["ratio"],
            "memory_ratio": cell.energy["memory"]["ratio"],
            "quantised_ratio": cell.energy["quantised"]["memory"]["ratio"],
            "macs": cell.energy["counted"]["macs"],
            "acs": cell.energy["counted"]["acs"],
            "samples": cell.energy["samples"],
        }
        for cell in cells
    )
    shown = shown_as(
        frame,
        {
            "firing_rate": ("firing rate", 1, 4),
            "paper_ratio": ("E_ANN / E_SNN, paper (Eq. 1)", 1, 1),
            "counted_ratio": ("E_ANN / E_SNN, counted", 1, 2),
            "memory_ratio": ("with memory", 1, 2),
            "quantised_ratio": ("quantised twin, with memory", 1, 2),
            "macs": ("MACs, thousands", 1e-3, 1),
            "acs": ("ACs, thousands", 1e-3, 1),
        },
    )
    shown["seeds"] = frame["seeds"].astype(str)
    note = (
        "Per test sample, 45 nm figures of Horowitz 2014. Paper: FLOPs x 4.6 pJ over FLOPs x firing rate x 0.1 pJ x T. "
        "Counted: the synaptic operations that happened (4.6 pJ a MAC, 0.9 pJ an AC) and the neurons' updates. "
        "With memory: also addresses, reads and writes (Lemaire et al. 2022). Quantised twin: ceil(log2(T + 1))-bit "
        "activations (Yan et al. 2024), 8-bit weights for both. The twin makes one dense pass. See docs/energy.md. "
        + splits(frame)
    )
    return Table("energy", "Energy against the ReLU twin", note, frame, shown)


def latency(cells: list[Cell]) -> Table:
    """Accuracy of the votes so far after t steps."""
    frame = over_seeds(
        {**keys_of(cell), **{f"t{t}": value for t, value in cell.latency["accuracy_at"].items()}} for cell in cells
    )
    steps = [name.removesuffix("_mean") for name in map(str, frame.columns) if name.endswith("_mean")]
    shown = shown_as(frame, {step: (f"t = {step[1:]}", 100, 2) for step in steps})
    shown["seeds"] = frame["seeds"].astype(str)
    note = (
        "Test accuracy, %, of the votes after the first t steps of one pass; mean ± standard deviation over seeds. "
        + splits(frame)
    )
    return Table("latency", "Accuracy over time steps", note, frame, shown)


def splits(frame: pd.DataFrame) -> str:
    """Which split each data set's figures are from, in a sentence."""
    named = dict.fromkeys(zip(frame["dataset"], frame["split"], strict=True))
    return "Split: " + "; ".join(f"{dataset}, {split}" for dataset, split in named) + "."


def keys_of(cell: Cell) -> dict[str, Any]:
    """Which row of a table the cell belongs to, and what it was tested on."""
    keys = {key: cell.train[key] for key in KEYS}
    return keys | {"split": cell.train.get("split") or "not recorded"}  # runs of before it was written down


def over_seeds(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Group by `KEYS` in order of appearance: figures to _mean and _sd (n - 1), `DESCRIPTIONS` to the first one."""
    whole = pd.DataFrame(list(rows))
    groups = whole.groupby(KEYS, sort=False)
    columns: dict[str, pd.Series] = {}
    for column in whole.columns.drop(KEYS):
        if column in DESCRIPTIONS:
            columns[column] = groups[column].first()
        else:
            figures = whole[column].astype(float).groupby([whole[key] for key in KEYS], sort=False)
            columns[f"{column}_mean"], columns[f"{column}_sd"] = figures.mean(), figures.std()
    return pd.DataFrame({"seeds": groups.size(), **columns}).reset_index()


def shown_as(frame: pd.DataFrame, columns: dict[str, tuple[str, float, int]]) -> pd.DataFrame:
    """The keys and, for each column, "mean ± sd" scaled and rounded; a dash where there is no figure."""
    shown = frame[KEYS].astype(str)
    for column, (title, scale, digits) in columns.items():
        pairs = zip(frame[f"{column}_mean"], frame[f"{column}_sd"], strict=True)
        shown[title] = [mean_sd(mean * scale, sd * scale, digits) for mean, sd in pairs]
    return shown


def mean_sd(mean: float, sd: float, digits: int) -> str:
    """ "mean ± sd"; the mean alone where one seed has no spread, a dash where there is no figure."""
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" if pd.isna(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"
