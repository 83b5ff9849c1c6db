"""The tables: a row a data set, T and method, with mean and standard deviation over seeds."""

from collections.abc import Hashable, Iterable
from typing import Any

import pandas as pd

from bpsta_cli.reporting import quantised_twins
from bpsta_cli.reporting.artifacts import KEYS, Table
from bpsta_cli.reporting.collect import RunResults

DESCRIPTIONS = ["network", "epochs", "selection", "samples", "split"]
"""Columns that describe how a value was measured, the same for every seed."""


def accuracy(runs: list[RunResults]) -> Table:
    """Test accuracy and firing rate."""
    frame = over_seeds(
        {
            **keys_of(run),
            "accuracy": run.train["accuracy"],
            "firing_rate": run.train["firing_rate"],
            "network": run.train["network"],
            "epochs": run.train["epochs"],
            "selection": run.train["selection"],
        }
        for run in runs
    )
    display = display_frame(frame, {"accuracy": ("accuracy, %", 100, 2), "firing_rate": ("firing rate", 1, 4)})
    for column in ("seeds", "network", "epochs", "selection"):
        display[column] = frame[column].astype(str)
    note = f"Mean ± standard deviation over seeds. {splits(frame)}"
    return Table("accuracy", "Test accuracy", note, frame, display)


def methods(runs: list[RunResults]) -> Table:
    """Test accuracy and firing rate with a row a data set and T and a column a method: the whole at a glance."""
    frame = over_seeds(
        {**keys_of(run), "accuracy": run.train["accuracy"], "firing_rate": run.train["firing_rate"]} for run in runs
    )
    rows: dict[tuple[str, str], dict[str, str]] = {}
    seeds: dict[tuple[str, str], set[int]] = {}
    for group in frame.to_dict("records"):
        place = str(group["dataset"]), str(group["T"])
        rows.setdefault(place, {})[group["method"]] = _with_rate(group)
        seeds.setdefault(place, set()).add(group["seeds"])
    display = pd.DataFrame(
        [{"dataset": dataset, "T": T} | texts for (dataset, T), texts in rows.items()],
        columns=["dataset", "T", *frame["method"].unique()],
    ).fillna("-")
    display["seeds"] = [fewest_to_most(found) for found in seeds.values()]
    note = (
        "Test accuracy, %, mean ± standard deviation over seeds, and in brackets the mean firing rate, spikes a neuron "
        f"and step. {splits(frame)}"
    )
    return Table("methods", "The methods side by side", note, frame, display, ("dataset", "T"))


def _with_rate(group: dict[Hashable, Any]) -> str:
    accuracy = mean_sd(100 * group["accuracy_mean"], 100 * group["accuracy_sd"], 2)
    rate = group["firing_rate_mean"]
    return accuracy if pd.isna(rate) else f"{accuracy} ({rate:.3f})"


def energy(runs: list[RunResults], all_runs: list[RunResults]) -> Table:
    """The energy accounts, per sample, of `runs`; the twins are among `all_runs`."""
    frame = over_seeds(
        {
            **keys_of(run),
            "firing_rate": run.energy["firing_rate"],
            "paper_ratio": run.energy["paper"]["ratio"],
            "counted_ratio": run.energy["counted"]["ratio"],
            "memory_ratio": run.energy["memory"]["ratio"],
            "quantised_ratio": run.energy["quantised"]["memory"]["ratio"],
            "macs": run.energy["counted"]["macs"],
            "acs": run.energy["counted"]["acs"],
            "samples": run.energy["samples"],
        }
        for run in runs
    )
    frame = _with_twins(frame, runs, all_runs)
    display = display_frame(
        frame,
        {
            "firing_rate": ("firing rate", 1, 4),
            "paper_ratio": ("E_ANN / E_SNN, paper (Eq. 1)", 1, 1),
            "counted_ratio": ("E_ANN / E_SNN, counted", 1, 2),
            "memory_ratio": ("with memory", 1, 2),
            "quantised_ratio": ("quantised twin, with memory", 1, 2),
            "twin_accuracy": ("twin, %", 100, 2),
            "quantised_twin_accuracy": ("quantised twin, %", 100, 2),
            "macs": ("MACs, thousands", 1e-3, 1),
            "acs": ("ACs, thousands", 1e-3, 1),
        },
    )
    display["seeds"] = frame["seeds"].astype(str)
    note = (
        "Energy of one test sample, with the values of Horowitz 2014 for 45 nm. Paper: FLOPs x 4.6 pJ over FLOPs x "
        "firing rate x 0.1 pJ x T. Counted: the synaptic operations that happened (4.6 pJ a MAC, 0.9 pJ an AC) and "
        "the neurons' updates. With memory: also addresses, reads and writes (Lemaire et al. 2022). Quantised twin: "
        "activations of ceil(log2(T + 1)) bits (Yan et al. 2024), weights of 8 bits in both. The twin makes one dense "
        f"pass. 'twin, %' is its test accuracy; {quantised_twins.NOTE} See docs/energy.md. " + splits(frame)
    )
    return Table("energy", "Energy against the ReLU twin", note, frame, display)


def latency(runs: list[RunResults]) -> Table:
    """Accuracy of the cumulative votes after t steps."""
    frame = over_seeds(
        {**keys_of(run), **{f"t{t}": value for t, value in run.latency["accuracy_at"].items()}} for run in runs
    )
    steps = [name.removesuffix("_mean") for name in map(str, frame.columns) if name.endswith("_mean")]
    display = display_frame(frame, {step: (f"t = {step[1:]}", 100, 2) for step in steps})
    display["seeds"] = frame["seeds"].astype(str)
    note = (
        "Test accuracy, %, of the votes after the first t steps of one pass; mean ± standard deviation over seeds. "
        + splits(frame)
    )
    return Table("latency", "Accuracy over time steps", note, frame, display)


def _with_twins(frame: pd.DataFrame, runs: list[RunResults], all_runs: list[RunResults]) -> pd.DataFrame:
    """With the accuracies of each row's twins, mean and standard deviation over their own seeds."""
    first = {tuple(run.train[key] for key in KEYS): run for run in reversed(runs)}
    found = [quantised_twins.accuracies(first[key], all_runs) for key in frame[KEYS].itertuples(index=False, name=None)]
    columns: dict[str, list[float]] = {}
    for name in quantised_twins.COLUMNS:
        values = [pd.Series(each[name], dtype=float) for each in found]
        columns |= {f"{name}_mean": [each.mean() for each in values], f"{name}_sd": [each.std() for each in values]}
    return frame.assign(**columns)


def splits(frame: pd.DataFrame) -> str:
    """Which split each data set's values are from, in a sentence."""
    named = dict.fromkeys(zip(frame["dataset"], frame["split"], strict=True))
    return "Split: " + "; ".join(f"{dataset}, {split}" for dataset, split in named) + "."


def keys_of(run: RunResults) -> dict[str, Any]:
    """Which row of a table the run belongs to, and what it was tested on."""
    keys = {key: run.train[key] for key in KEYS}
    return keys | {"split": run.train.get("split") or "not recorded"}  # runs of before it was written down


def over_seeds(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """Group by `KEYS` in order of appearance: values to _mean and _sd (n - 1), `DESCRIPTIONS` to the first one."""
    whole = pd.DataFrame(list(rows))
    groups = whole.groupby(KEYS, sort=False)
    columns: dict[str, pd.Series] = {}
    for column in whole.columns.drop(KEYS):
        if column in DESCRIPTIONS:
            columns[column] = groups[column].first()
        else:
            values = whole[column].astype(float).groupby([whole[key] for key in KEYS], sort=False)
            columns[f"{column}_mean"], columns[f"{column}_sd"] = values.mean(), values.std()
    return pd.DataFrame({"seeds": groups.size(), **columns}).reset_index()


def display_frame(frame: pd.DataFrame, columns: dict[str, tuple[str, float, int]]) -> pd.DataFrame:
    """The keys and, for each column, "mean ± sd" scaled and rounded; a dash where there is no value."""
    display = frame[KEYS].astype(str)
    for column, (title, scale, digits) in columns.items():
        pairs = zip(frame[f"{column}_mean"], frame[f"{column}_sd"], strict=True)
        display[title] = [mean_sd(mean * scale, sd * scale, digits) for mean, sd in pairs]
    return display


def fewest_to_most(counts: Iterable[int]) -> str:
    """ "3", or "2-3" where they differ."""
    found = sorted(set(counts))
    return "-".join(map(str, dict.fromkeys((found[0], found[-1]))))


def seeds_in_words(counts: Iterable[int]) -> str:
    """ "1 seed", "3 seeds" or "2-3 seeds"."""
    told = fewest_to_most(counts)
    return "1 seed" if told == "1" else f"{told} seeds"


def mean_sd(mean: float, sd: float, digits: int) -> str:
    """ "mean ± sd"; the mean alone where one seed has no spread, a dash where there is no value."""
    if pd.isna(mean):
        return "-"
    return f"{mean:.{digits}f}" if pd.isna(sd) else f"{mean:.{digits}f} ± {sd:.{digits}f}"
