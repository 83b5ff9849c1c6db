"""A receipt of a stage that a job of the cluster made: what it was made from, and the SHA-256 of what it wrote.

Jobs run for hours beside a project that goes on. `dvc commit` enters whatever lies there; so it is told of those stages
alone whose receipt says that they were made from the settings, data and code of now, and whose files are still the ones
that were made.
"""

import hashlib
import json
import socket
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import check_params
from digest import Numbers, digests

from bpsta_cli import files, provenance
from bpsta_cli.config import Params
from bpsta_cli.errors import BpstaError, SettingsError
from bpsta_cli.reading import documents

PREPARING = ("config", "data", "portable_math.py", "reading", "rules", "surrogates.py")
"""The parts of the package that dvc.yaml names as what `prepare` depends on."""


@dataclass(frozen=True)
class Receipt:
    """What a stage was made from and what it made.

    Attributes:
        inputs: what decides its bytes, by name -> SHA-256.
        outputs: each file that it wrote, from the project's folder on -> SHA-256.
        host: the machine that made it.
    """

    inputs: dict[str, str]
    outputs: dict[str, str]
    host: str = ""


@dataclass(frozen=True)
class Present:
    """What stages are made from, as it is now, found once for all of them.

    Attributes:
        study: the settings.
        settings: each stage's share of them, which DVC compares it by: the files of data/settings.
        code: the SHA-256 of the code that decides the bytes of "preparing", "training" and "measurement".
    """

    study: Params
    settings: dict[str, Any]
    code: dict[str, str]


def present(study: Params) -> Present:
    """What the stages of this study are made from."""
    preparing = b"".join(file.read_bytes() for file in provenance.deciding(PREPARING))
    code = {"preparing": _sha256(preparing)} | {str(what): _sha256(digests(what).encode()) for what in Numbers}
    return Present(study, check_params.settings(study), code)


def outputs(stage: str, study: Params) -> list[Path]:
    """The files of a stage, as dvc.yaml names them."""
    kind, _, name = stage.partition("@")
    if kind == "prepare":
        return [Path(f"data/stores/{name}/T{T}.json") for T in sorted({run.T for run in study.runs_with(name)})]
    written = ("model.safetensors", "settings.json", "metrics.json", "history.csv")
    measured = ("eval", "energy", "latency") if kind == "train" else ("eval",)
    return [
        *(Path("results/train") / name / file for file in written),
        *(Path("results") / what / f"{name}.json" for what in measured),
    ]


def inputs(stage: str, now: Present) -> dict[str, str]:
    """What decides the bytes of a stage, as it is now.

    Raises:
        SettingsError: the data are not prepared.
    """
    kind, _, name = stage.partition("@")
    if kind == "prepare":
        return {"settings": _of_settings(now, f"recipes/{name}.json"), "code": now.code["preparing"]}
    run = now.study.run(name)
    store = _needed(Path(f"data/stores/{run.recipe}/T{run.T}.json"), f"prepare@{run.recipe}")
    hashes = {f"code of {what}": now.code[what] for what in Numbers}
    return {**hashes, "store": store, "settings": _of_settings(now, f"runs/{name}.json")}


def write(file: Path, stage: str, study: Params, made_from: dict[str, str]) -> None:
    """Write the receipt of a stage that has just been made."""
    made = {str(path): _sha256(path.read_bytes()) for path in outputs(stage, study)}
    files.write_json(file, asdict(Receipt(made_from, made, socket.gethostname())))


def holds(file: Path, stage: str, now: Present) -> bool:
    """Whether the receipt is of the settings, data and code of now, and of the files that are there."""
    try:
        receipt = Receipt(**documents.json_object(file))
        here = {str(path): _sha256(path.read_bytes()) for path in outputs(stage, now.study)}
        return receipt.outputs == here and receipt.inputs == inputs(stage, now)
    except (OSError, TypeError, BpstaError):
        return False


def _of_settings(now: Present, name: str) -> str:
    return _sha256(json.dumps(now.settings[name]).encode())


def _needed(file: Path, stage: str) -> str:
    if not file.is_file():
        raise SettingsError(
            f"{stage} is not made",
            expected=str(file),
            got="no such file",
            todo=f"See the log of {stage}, and call cluster.py again.",
        )
    return _sha256(file.read_bytes())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
