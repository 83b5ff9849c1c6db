"""A table of the runs in a folder, a row a run, whatever study they belong to."""

import csv
import io
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.reading import UnreadableError, text
from bpsta_cli.reporting import records

_Text = Annotated[str, Field(min_length=1)]
_Share = Annotated[float, Field(ge=0, le=1)]
_ShareOrNone = Annotated[_Share | None, BeforeValidator(lambda cell: None if cell == "" else cell)]


class _Row(BaseModel):
    """A run; the names are the table's columns, in order."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    run: _Text
    recipe: _Text
    dataset: _Text
    method: _Text
    rule: _Text
    T: Annotated[int, Field(ge=1)]
    seed: Annotated[int, Field(ge=0)]
    part: Literal["test", "validation"]
    accuracy: _Share
    firing_rate: _ShareOrNone
    lowest_layer_rate: _ShareOrNone
    epochs: Annotated[int, Field(ge=1)]
    network: _Text
    norm: _Text


COLUMNS = tuple(_Row.model_fields)
RATES = "train_firing_rate/"
"""Beginning of the columns of history.csv with each layer's firing rate."""


def run_table(folder: Path) -> pd.DataFrame:
    """Every finished run in `folder`, a row each, with what the last epoch came to.

    That is on the test part, or on the validation part where the run held one out (`selection` validation).

    Columns: run, recipe (the run's name before method, T and seed), dataset, method (the variant, else the rule),
    rule, T, seed, part, accuracy and firing_rate (shares), lowest_layer_rate (of the layer that fires least, in the
    last epoch's training passes; none: the ReLU twin), epochs, network, norm.

    Raises:
        RunError: there is none, or a file cannot be read.
    """
    rows = sorted((_row(file.parent) for file in folder.glob("*/metrics.json")), key=_place)
    if not rows:
        raise RunError(
            "nothing to compare",
            expected=f"finished runs in {folder}, such as {folder}/RUN/metrics.json",
            got="none",
            todo="Train them first (pipelines/grid.py), or name another folder.",
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_run_table(file: Path) -> pd.DataFrame:
    """The table that `run_table` gave and that was written as CSV, value by value the same.

    Raises:
        RunError: it cannot be read, or is another table.
    """
    try:
        lines = csv.DictReader(io.StringIO(text(file)), strict=True)
        rows = [_Row.model_validate(line).model_dump() for line in lines]
    except UnreadableError as broken:
        raise _no_run_table(file, broken.got) from None
    except csv.Error as broken:
        raise _no_run_table(file, str(broken)) from None
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        raise _no_run_table(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not rows:
        raise _no_run_table(file, "no row")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _no_run_table(file: Path, got: str) -> RunError:
    return RunError(
        f"unreadable table {file}",
        expected=f"a row a run, in CSV: {', '.join(COLUMNS)}",
        got=got[:200],
        todo="Make it with pipelines/compare.py from the runs' folder, or name that folder.",
    )


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    order = rules.names()
    rule = order.index(row["rule"]) if row["rule"] in order else len(order)
    return row["recipe"], row["T"], rule, row["method"], row["seed"], row["run"]


def _row(run: Path) -> dict[str, Any]:
    metrics = records.read(run / "metrics.json", "metrics")
    history = records.read_history(run / "history.csv")
    settings = settings_of(run / "settings.json")
    last = history.iloc[-1]
    suffix = f"-{settings.label}-T{settings.T}-s{settings.seed}"
    held_out = settings.training.selection == "validation"
    prefix = "validation_" if held_out else ""
    return {
        "run": run.name,
        "recipe": run.name.removesuffix(suffix) if run.name.endswith(suffix) else settings.dataset,
        "dataset": settings.dataset,
        "method": metrics["method"],
        "rule": settings.method,
        "T": settings.T,
        "seed": settings.seed,
        "part": "validation" if held_out else "test",
        "accuracy": last[f"{prefix}accuracy"],
        "firing_rate": last.get(f"{prefix}firing_rate"),
        "lowest_layer_rate": lowest_layer_rate(last),
        "epochs": settings.data.epochs,
        "network": settings.data.network,
        "norm": settings.training.norm,
    }


def lowest_layer_rate(epoch: pd.Series) -> float | None:
    """Of a row of history.csv, the training passes' firing rate of the layer that fired least; None: the ReLU twin."""
    return min((epoch[name] for name in epoch.index if name.startswith(RATES)), default=None)


def settings_of(file: Path) -> RunSettings:
    """The settings in a run's settings.json; no rule file is run for them.

    Raises:
        RunError: it cannot be read, or holds others.
    """
    return settings_in(records.read(file, "settings"), file)


def settings_in(recorded: dict[str, Any], file: Path) -> RunSettings:
    """The settings in what was read of the settings.json `file`; no rule file is run for them.

    Raises:
        RunError: they are others.
    """
    try:
        return RunSettings.model_validate(recorded["settings"])
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        raise RunError(
            f"unreadable result {file}",
            expected=f"the settings that bpsta train wrote ({first['msg']})",
            got=".".join(map(str, first["loc"])),
            todo="Restore the file, or train the run again.",
        ) from None
