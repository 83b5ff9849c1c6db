"""Run directories: which files a run has, and how each is written and read.

A run directory holds
    settings.json       the settings, the input's shape, the classes, the hashes of data and rule file
    provenance.json     commit, code, libraries, machine: what changes while the other files stay the same bytes
    history.csv         a row for each epoch
    timings.json        seconds of each epoch; in a file of their own, as all else is the same when a run is repeated
    checkpoints/        while the run is unfinished: all that it needs to go on, and the weights chosen so far
    model.safetensors   once it is finished: the weights of the epoch that the selection chose
    metrics.json        once it is finished: the result, and the SHA-256 of the files that belong to it
    state/              once it is finished, where that was asked for: its last checkpoint, to train it for more epochs
Each .json file carries a checksum in its last line, each checkpoint one in its header, and metrics.json is written
last: what is read is vouched for, whenever the run was killed. Files of older versions have no checksums.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from torch import Tensor, nn

from bpsta_cli import files, reading, rules
from bpsta_cli.checksums import DamagedError
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.network import Network
from bpsta_cli.reading import MissingError, UnreadableError, documents
from bpsta_cli.rules import Rule
from bpsta_cli.training import so_far, tensor_files
from bpsta_cli.training.checkpoint_files import Checkpoints
from bpsta_cli.training.rule_trust import rule_of
from bpsta_cli.training.run_network import check_shapes, load_weights, network_of
from bpsta_cli.training.so_far import SoFar
from bpsta_cli.training.tensor_files import Header

SETTINGS, PROVENANCE, HISTORY, TIMINGS, WEIGHTS, METRICS = (
    "settings.json",
    "provenance.json",
    "history.csv",
    "timings.json",
    "model.safetensors",
    "metrics.json",
)
OLD_STATE = "state.pt"
"""An older version's training state, a pickle: it is removed with the run, and never read."""
RESULT = (SETTINGS, HISTORY, WEIGHTS)
"""The files whose SHA-256 metrics.json holds under `files`."""


class RunInfo(BaseModel):
    """What settings.json holds, and the provenance, which stands in a file of its own.

    A settings.json with the provenance in it is read too; one that does not say how the run was warmed up is of a
    version that knew the epochs as the twin alone.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: RunSettings
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    data_hash: str
    split: str = ""
    rule_sha256: str = ""
    """Of the file with the run's learning rule; empty: it has none of the user's own."""
    provenance: dict[str, Any] = Field(default_factory=dict, exclude=True)

    @property
    def label(self) -> str:
        """What tables call the method: the variant, else the rule's registered name, where it was run."""
        rule = rules.with_hash(self.rule_sha256) if self.rule_sha256 else None
        return self.settings.label if self.settings.variant or rule is None else rule.name

    @field_validator("settings", mode="before")
    @classmethod
    def _a_record_of_before_there_was_a_choice_has_the_twin(cls, values: Any) -> Any:
        training = values.get("training") if isinstance(values, dict) else None
        if isinstance(training, dict) and "warmup" not in training:
            return {**values, "training": {**training, "warmup": "twin"}}
        return values


class RunDir:
    """One run's directory."""

    def __init__(self, path: str | Path) -> None:
        self.path = path = Path(path)
        self._checkpoints, self._kept = Checkpoints(path / "checkpoints"), Checkpoints(path / "state")

    @property
    def exists(self) -> bool:
        """Whether a run began here."""
        return (self.path / SETTINGS).is_file()

    @property
    def finished(self) -> bool:
        """Whether the run here is finished."""
        return (self.path / METRICS).is_file()

    @property
    def checkpoints(self) -> Checkpoints:
        """The training state of an unfinished run."""
        return self._checkpoints

    @property
    def kept(self) -> Checkpoints:
        """The training state of a finished run, where it was kept."""
        return self._kept

    def clear(self) -> None:
        """Remove a run's files, and nothing else; the result first, so that no half of one is left."""
        self.remove_result()
        for name in (OLD_STATE, HISTORY, TIMINGS, PROVENANCE):
            (self.path / name).unlink(missing_ok=True)
        self.checkpoints.clear()
        self.kept.clear()
        (self.path / SETTINGS).unlink(missing_ok=True)

    def remove_result(self) -> None:
        """Remove what makes the run a finished one."""
        for name in (METRICS, WEIGHTS):
            (self.path / name).unlink(missing_ok=True)

    def write_info(self, info: RunInfo) -> None:
        """Begin the run: provenance.json, then settings.json."""
        self.write_provenance(info.provenance)
        files.write_checked_json(self.path / SETTINGS, info.model_dump(mode="json"))

    def info(self) -> RunInfo:
        """Read settings.json and provenance.json; a run without the latter is of unknown provenance.

        Raises:
            RunError: the directory is missing or holds no run, or a file is damaged or cannot be read.
        """
        file = self.path / SETTINGS
        if not file.is_file():
            raise RunError(
                "not a run",
                expected="a directory written by bpsta train, with settings.json",
                got=f"{self.path} ({'without one' if self.path.is_dir() else 'not a directory'})",
                todo="Give the directory that bpsta train printed.",
            )
        try:
            info = RunInfo.model_validate(documents.json_object(file))
        except UnreadableError as broken:
            problem, got = broken.expected, broken.got
        except ValidationError as invalid:
            first = invalid.errors(include_url=False)[0]
            problem, got = first["msg"], ".".join(map(str, first["loc"]))
        else:
            if not (self.path / PROVENANCE).is_file():
                return info
            recorded, _ = self._json(PROVENANCE, todo="Remove it: no number depends on it.")
            return info.model_copy(update={"provenance": recorded})
        raise RunError(
            "unreadable run settings",
            expected=f"the settings.json that bpsta train wrote ({problem})",
            got=f"{file}: {got}",
            todo="Train the run again, or restore the file.",
        )

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """provenance.json; none where nothing is known."""
        if provenance:
            files.write_checked_json(self.path / PROVENANCE, provenance)

    def info_checksum(self) -> str:
        """SHA-256 of settings.json: what tells this run's files from another's."""
        return reading.sha256(self.path / SETTINGS)

    def write_weights(self, weights: dict[str, Tensor]) -> None:
        """model.safetensors."""
        with files.replacing(self.path / WEIGHTS) as file:
            file.write(tensor_files.pack(weights))

    def weights_sha256(self) -> str:
        """SHA-256 of the file model.safetensors, as sha256sum prints it."""
        return reading.sha256(self.path / WEIGHTS)

    def weights(self, network: nn.Module | None = None) -> dict[str, Tensor]:
        """The weights of the selected epoch; of an unfinished run those selected so far.

        Args:
            network: whose weights they are to be; their shapes are compared before they are read.

        Raises:
            RunError: there are none yet, or they are damaged, of another run or of another structure.
        """
        if (unfinished := self.so_far()) is not None:
            return unfinished.weights
        file = self.path / WEIGHTS
        todo = "Train the run again, or restore the file."
        try:
            recorded = self._recorded(WEIGHTS)

            def check(header: Header) -> None:
                if network is not None:
                    check_shapes(network, header.shapes, self.path)

            return tensor_files.read(file, check, sha256=recorded)[0]
        except FileNotFoundError:
            got, todo = f"no {file}", "Finish the training first: start bpsta train again with the same --out."
        except DamagedError as broken:
            got = f"{file}: {broken}"
        raise RunError("no usable weights", expected="a model.safetensors file", got=got, todo=todo)

    def so_far(self) -> SoFar | None:
        """The weights that an unfinished run has selected so far; None where it is finished or has no checkpoint.

        Raises:
            RunError: no run, no checkpoint is whole, or no epoch of the spiking network was finished.
        """
        if self.finished or not self.checkpoints.files():
            return None
        self.info()  # a damaged settings.json is no other run's
        return so_far.read(self.checkpoints, self.info_checksum(), self.path)

    def network(
        self,
        device: torch.device | str = "cpu",
        rule: type[Rule] | None = None,
        trusted: Iterable[Path] = (),
        weights: dict[str, Tensor] | None = None,
    ) -> tuple[RunInfo, Network]:
        """The trained network, in evaluation mode.

        Args:
            device: where the weights go.
            rule: the class of the run's learning rule; None: the method's.
            trusted: files that may be run for a rule of the user's own, where they are the run's.
            weights: of the run, where they have been read; None: they are read.

        Raises:
            RunError: no run, no weights, files that are damaged, weights of another structure, or a rule that may not
                be run.
        """
        info = self.info()
        rule = rule or rule_of(info.settings.method, info.rule_sha256, self.path, trusted)
        self._check(SETTINGS)
        network = network_of(info.settings, info.input_shape, len(info.classes), rule)
        load_weights(network, self.weights(network) if weights is None else weights, self.path)
        return info, network.to(device).eval()

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """history.csv."""
        import pandas as pd

        files.write_text(self.path / HISTORY, pd.DataFrame(history).to_csv(index=False))

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json, with the SHA-256 of the files beside it: from here on the run is finished."""
        sums = {name: reading.sha256(self.path / name) for name in RESULT if (self.path / name).is_file()}
        files.write_checked_json(self.path / METRICS, {**metrics, "files": sums})

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json.

        Raises:
            RunError: the run is not finished, or the file is damaged.
        """
        return self._json(METRICS, todo="Continue the run: bpsta train with the same --out.")[0]

    def write_timings(self, timings: dict[str, Any]) -> None:
        """timings.json."""
        files.write_checked_json(self.path / TIMINGS, timings)

    def timings(self) -> dict[str, Any]:
        """Read timings.json.

        Raises:
            RunError: it is missing or damaged.
        """
        return self._json(TIMINGS, todo="Start the run anew with --overwrite.")[0]

    def check(self) -> None:
        """Hold every file of a finished run against its checksum.

        Raises:
            RunError: one is damaged, missing or another run's.
        """
        self.info()
        for name in self._json(METRICS, todo="")[0].get("files", {}):
            self._check(name)

    def unchecked(self) -> list[str]:
        """The files that were written without a checksum, by an older version, or whose metrics.json is gone."""
        recorded = self._json(METRICS, todo="")[0].get("files", {}) if self.finished else {}
        if not self.finished and self.checkpoints.files():
            return []
        names = [name for name in RESULT if (self.path / name).is_file() and name not in recorded]
        if not self._json(SETTINGS, todo="")[1]:
            return names
        return [name for name in names if name != SETTINGS]

    def _check(self, name: str) -> None:
        """Compare a file with what metrics.json holds of it."""
        recorded = self._recorded(name)
        if recorded is None:
            return
        file = self.path / name
        if not file.is_file():
            wrong = "no such file"
        elif reading.sha256(file) != recorded:
            wrong = "another checksum than metrics.json says"
        else:
            return
        raise RunError(
            "damaged run",
            expected=f"the {name} that bpsta train wrote",
            got=f"{file}: {wrong}",
            todo="Restore the file, or train the run anew with --overwrite.",
        )

    def _recorded(self, name: str) -> str | None:
        """The SHA-256 of a file that metrics.json holds; None of an unfinished run or an older version."""
        if not self.finished:
            return None
        sums = self._json(METRICS, todo="")[0].get("files", {})
        recorded = sums.get(name) if isinstance(sums, dict) else None
        return None if recorded is None else str(recorded)

    def _json(self, name: str, *, todo: str) -> tuple[dict[str, Any], bool]:
        """What a file holds, and whether it has a checksum."""
        file = self.path / name
        try:
            return documents.checked_object(file)
        except MissingError:
            raise RunError("run not finished", expected=str(file), got="no such file", todo=todo) from None
        except UnreadableError as broken:
            raise RunError(
                "unreadable file",
                expected=broken.expected,
                got=f"{file}: {broken.got}",
                todo=todo or "Restore the file, or train the run anew with --overwrite.",
            ) from None
