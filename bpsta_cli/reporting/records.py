"""What a report needs of the files of a run: each is held against this before anything is made of it."""

from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bpsta_cli.errors import RunError
from bpsta_cli.reading import UnreadableError, documents, sha256

METRICS = "metrics.json"
_REMEDY = "Remove the file and run dvc repro."
_Share = Annotated[float, Field(ge=0, le=1)]
_Count = Annotated[int, Field(ge=0)]
_Step = Annotated[int, Field(ge=1, le=10_000)]
_Text = Annotated[str, Field(max_length=10_000)]


class _Record(BaseModel):
    """A file may hold more than a report reads."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class Provenance(_Record):
    """provenance.json, whatever of it was recorded."""

    commit: _Text = ""
    code: _Text = ""
    device: _Text = ""
    threads: _Count = 0
    python: _Text = ""
    libraries: dict[str, _Text] = Field(default_factory=dict)
    machine: dict[str, _Text] = Field(default_factory=dict)
    kernel: _Text | None = None


class Metrics(_Record):
    """metrics.json of a finished run."""

    dataset: _Text
    method: _Text
    network: _Text
    T: _Step
    seed: _Count
    accuracy: _Share
    firing_rate: _Share | None
    epochs: _Count
    selection: _Text
    data_hash: _Text
    split: _Text = ""
    loss: float | None = None
    train_accuracy: _Share | None = None
    selected_epoch: _Count | None = None
    provenance: Provenance = Field(default_factory=Provenance)


class _Ratio(_Record):
    ratio: float | None


class _Counted(_Ratio):
    macs: float
    acs: float


class _Quantised(_Record):
    bits: _Count | None = None
    memory: _Ratio


class _Layer(_Record):
    layer: _Text
    kind: _Text
    firing_rate: _Share | None


class Energy(_Record):
    """What `bpsta energy --json` gives of a run."""

    firing_rate: _Share | None
    firing_rates: dict[str, _Share] = Field(default_factory=dict)
    samples: _Count
    frames: _Count = 1
    paper: _Ratio
    counted: _Counted
    memory: _Ratio
    quantised: _Quantised
    layers: list[_Layer] = Field(default_factory=list)


class _FineTuned(_Record):
    accuracy: _Share


class _QuantisedTwin(_Record):
    bits: _Count
    accuracy: _Share
    fine_tuned: _FineTuned | None


class Evaluation(_Record):
    """What `bpsta eval --json` gives of a run; with --bits, of its quantised twin too."""

    accuracy: _Share
    weights_sha256: _Text = ""
    quantised: _QuantisedTwin | None = None


class _Chosen(_Record):
    tolerance: _Share
    mean_steps: float
    loss: float


class _EarlyExit(_Record):
    chosen_on: _Text
    chosen: list[_Chosen]


class Latency(_Record):
    """What `bpsta latency --json` gives of a run."""

    early_exit: _EarlyExit | None = None

    accuracy_at: dict[Annotated[str, Field(pattern=r"^[1-9][0-9]{0,4}$")], _Share] = Field(min_length=1)


class _Data(_Record):
    train_samples: _Count | None = None


class _Settings(_Record):
    data: _Data


class Recorded(_Record):
    """settings.json."""

    settings: _Settings
    data_hash: _Text = ""
    split: _Text = ""
    rule_sha256: _Text = ""


Kind = Literal["metrics", "eval", "energy", "latency", "settings", "provenance"]
_MODELS: dict[Kind, type[_Record]] = {
    "metrics": Metrics,
    "eval": Evaluation,
    "energy": Energy,
    "latency": Latency,
    "settings": Recorded,
    "provenance": Provenance,
}


def read(file: Path, kind: Kind) -> dict[str, Any]:
    """A JSON file that the pipeline wrote for a run.

    Raises:
        RunError: it cannot be read, or lacks what a report needs.
    """
    try:
        found = documents.json_object(file)
    except UnreadableError as broken:
        raise _unusable(file, broken.expected, broken.got) from None
    check(file, kind, found)
    return found


def check(file: Path, kind: Kind, found: Any) -> None:
    """Hold what is in a file against what a report needs.

    Raises:
        RunError: it lacks that.
    """
    try:
        _MODELS[kind].model_validate(found)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        got = "none" if first["type"] == "missing" else repr(first["input"])[:80]
        raise _unusable(file, f"{'.'.join(map(str, first['loc']))}: {first['msg']}", got) from None


def read_history(file: Path, *, finished: bool = True) -> pd.DataFrame:
    """history.csv: a row for each epoch from 0 on, evaluated at the end; held against the SHA-256 in metrics.json.

    That of a run which is not `finished` may have no evaluation yet.

    Raises:
        RunError: it cannot be read, or lacks what a report needs.
    """
    try:
        metrics = file.with_name(METRICS)  # an unfinished run has none
        recorded = documents.json_object(metrics).get("files", {}).get(file.name) if metrics.is_file() else None
        if recorded is not None and sha256(file) != recorded:
            raise _unusable(file, f"the checksum that {METRICS} says of it", "another checksum")
        found = documents.table(file)
    except UnreadableError as broken:
        raise _unusable(file, broken.expected, broken.got) from None
    if not finished and "accuracy" not in found:
        found["accuracy"] = float("nan")
    for name in ("epoch", "phase", "train_accuracy", "accuracy"):
        if name not in found:
            raise _unusable(file, f"a column {name}", ", ".join(map(str, found.columns)))
    numbers = found[["epoch", "train_accuracy", "accuracy"]]
    if found.empty or not all(pd.api.types.is_numeric_dtype(numbers[name]) for name in numbers):
        raise _unusable(file, "rows of numbers", "none" if found.empty else "text")
    if list(found["epoch"]) != list(range(len(found))) or not found["phase"].isin(["twin", "spiking"]).all():
        raise _unusable(file, "epochs from 0 on, each twin or spiking", "others")
    shares = numbers[["train_accuracy", "accuracy"]]
    if (shares < 0).any(axis=None) or (shares > 1).any(axis=None):
        raise _unusable(file, "accuracies from 0 to 1", "others")
    if finished and shares.iloc[-1].isna().any():
        raise _unusable(file, "an evaluation of the last epoch", "none")
    return found


def _unusable(file: Path, expected: str, got: str) -> RunError:
    return RunError(f"unreadable result {file}", expected=expected, got=got, todo=_REMEDY)
