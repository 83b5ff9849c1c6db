"""Energy of several runs: rows for CSV files, and the rows of the paper's Table 5.

Table 5 gives accuracy, firing rate and E_ANN / E_SNN of the baseline and of the paper's method. Its caption says
"baseline/our method", but its columns stand the other way round; here every row names its method.
"""

from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pandas as pd

from bpsta_cli import files
from bpsta_cli.reporting import quantised_twins
from bpsta_cli.reporting.tables import mean_sd
from bpsta_cli.rules import TWIN

EnergyResult = dict[str, Any]
"""What `bpsta energy --json` gives of one run."""

KEYS = ["dataset", "network", "T", "method"]
VALUES = {
    "accuracy": ("accuracy",),
    "firing_rate": ("firing_rate",),
    "paper_ratio": ("paper", "ratio"),
    "counted_ratio": ("counted", "ratio"),
    "counted_ratio_frames": ("counted", "ratio_frames"),
    "memory_ratio": ("memory", "ratio"),
    "memory_ratio_frames": ("memory", "ratio_frames"),
    "quantised_ratio": ("quantised", "operations", "ratio"),
    "quantised_break_even_rate": ("quantised", "operations", "break_even_rate"),
    "quantised_memory_ratio": ("quantised", "memory", "ratio"),
    "quantised_memory_break_even_rate": ("quantised", "memory", "break_even_rate"),
}
"""A column of a run's row -> the keys that lead to its value in the JSON object."""

DISPLAY = (
    ("accuracy", 100, 2),
    ("twin_accuracy", 100, 2),
    ("quantised_twin_accuracy", 100, 2),
    ("firing_rate", 1, 4),
    ("paper_ratio", 1, 1),
    ("counted_ratio", 1, 2),
    ("memory_ratio", 1, 2),
    ("quantised_ratio", 1, 2),
    ("quantised_memory_ratio", 1, 2),
)
"""The columns that readers see, each with its factor and its number of decimals."""


def run_frame(runs: list[EnergyResult]) -> pd.DataFrame:
    """A row a run: the columns of `VALUES`, and the mean accuracy of its twin where runs of the twin are given."""
    twins = [pd.Series([twin["accuracy"] for twin in _twins(run, runs)], dtype=float).mean() for run in runs]
    return pd.DataFrame(
        [
            _identity(run) | {name: value(run, name) for name in VALUES} | {"twin_accuracy": accuracy}
            for run, accuracy in zip(runs, twins, strict=True)
        ]
    )


def layer_frame(runs: list[EnergyResult]) -> pd.DataFrame:
    """A row a run and layer."""
    rows = [_identity(run) | layer for run in runs for layer in run["layers"]]
    frame = pd.DataFrame(rows)
    frame["shape"] = ["x".join(map(str, shape)) for shape in frame["shape"]]
    return frame


def table_5(runs: list[EnergyResult]) -> pd.DataFrame:
    """A row for each data set, network, T and spiking method: mean and standard deviation (n - 1) over its runs.

    A value that one of the runs does not have has no mean.
    """
    frame = run_frame(runs)
    frame = frame[frame["method"] != TWIN]  # the twin's accuracy is a column
    rows = []
    for key, same in frame.groupby(KEYS, sort=False):
        found = {name: same[name].astype(float) for name in VALUES}
        twins = _twins(runs[same.index[0]], runs)
        found["twin_accuracy"] = pd.Series([twin["accuracy"] for twin in twins], dtype=float)
        found |= _quantised_accuracies(runs[same.index[0]], twins)
        row: dict[str, Any] = dict(zip(KEYS, key, strict=True)) | {"runs": len(same)}
        for name, values in found.items():
            row |= {f"{name}_mean": values.mean(skipna=False), f"{name}_sd": values.std(skipna=False)}
        rows.append(row)
    return pd.DataFrame(rows)


def display_rows(frame: pd.DataFrame) -> list[list[str]]:
    """The rows of `table_5` for readers: "mean ± sd", the twin at one dense pass."""
    columns = [frame[key].astype(str).tolist() for key in ("dataset", "T", "method", "runs")]
    for name, scale, digits in DISPLAY:
        pairs = zip(frame[f"{name}_mean"], frame[f"{name}_sd"], strict=True)
        columns.append([mean_sd(mean * scale, sd * scale, digits) for mean, sd in pairs])
    return [list(row) for row in zip(*columns, strict=True)]


def write_csv(runs: list[EnergyResult], folder: Path) -> list[Path]:
    """Write layers.csv, runs.csv and table5.csv into `folder`; returns the files."""
    tables = {"layers": layer_frame(runs), "runs": run_frame(runs), "table5": table_5(runs)}
    written = []
    for name, frame in tables.items():
        path = folder / f"{name}.csv"
        files.write_text(path, frame.to_csv(index=False))
        written.append(path)
    return written


def _identity(run: EnergyResult) -> dict[str, Any]:
    return {name: run[name] for name in ("run", *KEYS, "seed", "samples")}


def value(run: EnergyResult, name: str) -> Any:
    """One of `VALUES`."""
    return reduce(getitem, VALUES[name], run)


def _twins(run: EnergyResult, runs: list[EnergyResult]) -> list[EnergyResult]:
    """The ReLU twins of the same structure; on frames of events also of the same T."""
    return [
        other
        for other in runs
        if other["method"] == TWIN
        and (other["dataset"], other["network"]) == (run["dataset"], run["network"])
        and (run["frames"] == 1 or other["T"] == run["T"])
    ]


def _quantised_accuracies(run: EnergyResult, twins: list[EnergyResult]) -> dict[str, pd.Series]:
    """Accuracies that `bpsta eval --bits` recorded of these twins at the bits of the run's quantised account."""
    measured = [quantised_twins.recorded(Path(twin["run"]), twin["weights_sha256"]) for twin in twins]
    found = [each for each in measured if each is not None and each["bits"] == run["quantised"]["bits"]]
    return {
        "calibrated_twin_accuracy": pd.Series([each["accuracy"] for each in found], dtype=float),
        "quantised_twin_accuracy": pd.Series([quantised_twins.best_known(each) for each in found], dtype=float),
    }
