"""Run directories: which files a run has, and how each is written and read.

A run directory holds
    settings.json       the settings, the input's shape, the classes, the hashes of data and rule file
    provenance.json     commit, code, libraries, machine: what changes while the other files stay the same bytes
    model.safetensors   the weights of the epoch that the selection chose
    history.csv         a row for each epoch
    metrics.json        the result, with the SHA-256 of model.safetensors; present once the run is finished
    timings.json        seconds of each epoch; in a file of their own, as all else is the same when a run is repeated
    state.pt            weights, optimiser and progress after the last finished epoch
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from bpsta_cli import files
from bpsta_cli.config import RunSettings
from bpsta_cli.errors import RunError
from bpsta_cli.network import Network, build
from bpsta_cli.reading import MissingError, UnreadableError, documents
from bpsta_cli.reading.tensors import safetensors
from bpsta_cli.rules import Rule
from bpsta_cli.training.rule_trust import rule_of

STATE = {"epoch", "history", "best", "best_epoch", "network", "optimiser", "scaler"}
"""What state.pt holds."""


class RunInfo(BaseModel):
    """What settings.json holds, and the provenance, which stands in a file of its own.

    A settings.json with the provenance in it is read too.
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


class RunDir:
    """One run's directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def exists(self) -> bool:
        """Whether a run began here."""
        return (self.path / "settings.json").is_file()

    @property
    def finished(self) -> bool:
        """Whether the run here is finished."""
        return (self.path / "metrics.json").is_file()

    @property
    def timed(self) -> bool:
        """Whether the time of an epoch was written; a run that was stopped just before that has none."""
        return (self.path / "timings.json").is_file()

    def clear(self) -> None:
        """Remove a run's files, and nothing else."""
        for name in (
            "metrics.json",
            "model.safetensors",
            "state.pt",
            "history.csv",
            "timings.json",
            "provenance.json",
            "settings.json",
        ):
            (self.path / name).unlink(missing_ok=True)

    def write_info(self, info: RunInfo) -> None:
        """Begin the run: provenance.json, then settings.json."""
        self.write_provenance(info.provenance)
        files.write_json(self.path / "settings.json", info.model_dump(mode="json"))

    def info(self) -> RunInfo:
        """Read settings.json and provenance.json; a run without the latter is of unknown provenance.

        Raises:
            RunError: the directory is missing or holds no run, or a file cannot be read.
        """
        file = self.path / "settings.json"
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
            if not (self.path / "provenance.json").is_file():
                return info
            recorded = self._json("provenance.json", todo="Remove it: no number depends on it.")
            return info.model_copy(update={"provenance": recorded})
        raise RunError(
            "unreadable run settings",
            expected=f"the settings.json that bpsta train wrote ({problem})",
            got=f"{file}: {got}",
            todo="Train the run again, or restore the file.",
        )

    def write_provenance(self, provenance: dict[str, Any]) -> None:
        """provenance.json."""
        files.write_json(self.path / "provenance.json", provenance)

    def write_weights(self, weights: dict[str, Tensor]) -> None:
        """model.safetensors."""
        with files.replacing(self.path / "model.safetensors") as file:
            file.write(save_tensors({name: tensor.contiguous() for name, tensor in weights.items()}))

    def weights_sha256(self) -> str:
        """SHA-256 of the file model.safetensors, as sha256sum prints it."""
        return hashlib.sha256((self.path / "model.safetensors").read_bytes()).hexdigest()

    def weights(self) -> dict[str, Tensor]:
        """Read model.safetensors.

        Raises:
            RunError: it is missing or is no checkpoint.
        """
        file = self.path / "model.safetensors"
        try:
            return load_tensors(safetensors(file))
        except MissingError:
            got, todo = f"no {file}", "Finish the training first (bpsta train --resume)."
        except (UnreadableError, SafetensorError) as broken:
            got, todo = str(broken), "Train the run again, or restore the file."
        raise RunError("no usable weights", expected="a model.safetensors file", got=got, todo=todo)

    def network(
        self, device: torch.device | str = "cpu", rule: type[Rule] | None = None, trusted: Iterable[Path] = ()
    ) -> tuple[RunInfo, Network]:
        """The trained network, in evaluation mode.

        Args:
            device: where the weights go.
            rule: the class of the run's learning rule; None: the method's.
            trusted: files that may be run for a rule of the user's own, where they are the run's.

        Raises:
            RunError: no run, no weights, weights of another structure, or a rule that may not be run.
        """
        info = self.info()
        rule = rule or rule_of(info.settings.method, info.rule_sha256, self.path, trusted)
        network = network_of(info.settings, info.input_shape, len(info.classes), rule)
        load_weights(network, self.weights(), self.path)
        return info, network.to(device).eval()

    def write_history(self, history: list[dict[str, Any]]) -> None:
        """history.csv."""
        import pandas as pd

        files.write_text(self.path / "history.csv", pd.DataFrame(history).to_csv(index=False))

    def write_state(self, state: dict[str, Any]) -> None:
        """state.pt."""
        with files.replacing(self.path / "state.pt") as file:
            torch.save(state, file)

    def state(self) -> dict[str, Any] | None:
        """The training state, or None where no epoch was finished.

        Raises:
            RunError: the file is no training state.
        """
        file = self.path / "state.pt"
        if not file.is_file():
            return None
        try:
            loaded: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
        except Exception as broken:  # torch.load raises what its many readers raise
            raise RunError(
                "unreadable training state",
                expected="the state.pt that bpsta train wrote",
                got=f"{file}: {' '.join(str(broken).split())[:120]}",
                todo="Start the run anew with --overwrite.",
            ) from None
        if set(loaded) != STATE:
            raise RunError(
                "unreadable training state",
                expected=f"{', '.join(sorted(STATE))} in {file}",
                got=f"it holds {', '.join(sorted(map(str, loaded)))}",
                todo="Start the run anew with --overwrite.",
            )
        return loaded

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """metrics.json: from here on the run is finished."""
        files.write_json(self.path / "metrics.json", metrics)

    def metrics(self) -> dict[str, Any]:
        """Read metrics.json.

        Raises:
            RunError: the run is not finished, or the file cannot be read.
        """
        return self._json("metrics.json", todo="Continue the run with bpsta train --resume.")

    def write_timings(self, timings: dict[str, Any]) -> None:
        """timings.json."""
        files.write_json(self.path / "timings.json", timings)

    def timings(self) -> dict[str, Any]:
        """Read timings.json.

        Raises:
            RunError: it is missing or cannot be read.
        """
        return self._json("timings.json", todo="Start the run anew with --overwrite.")

    def _json(self, name: str, *, todo: str) -> dict[str, Any]:
        file = self.path / name
        try:
            return documents.json_object(file)
        except MissingError:
            raise RunError("run not finished", expected=str(file), got="no such file", todo=todo) from None
        except UnreadableError as broken:
            raise RunError(
                "unreadable file", expected=broken.expected, got=f"{file}: {broken.got}", todo=todo
            ) from None


def network_of(
    settings: RunSettings, input_shape: tuple[int, int, int], classes: int, rule: type[Rule] | None = None
) -> Network:
    """The untrained network that a run's settings describe; `rule` is the class of its rule, None: the method's."""
    return build(
        settings.data.network,
        input_shape,
        classes,
        settings.make_rule(rule) or settings.method,
        **settings.neuron.model_dump(),
        norm=settings.training.norm,
        dropout=settings.training.dropout,
    )


def load_weights(network: nn.Module, weights: dict[str, Tensor], origin: Path) -> None:
    """Load `weights` into `network`.

    Raises:
        RunError: names or shapes do not match.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != found:
        name = next(name for name in (*wanted, *found) if wanted.get(name) != found.get(name))
        raise RunError(
            "weights of another structure",
            expected=f"{name} of shape {wanted[name]}" if name in wanted else f"no {name}",
            got=f"{found.get(name, 'none')} in {origin}",
            todo="Use a run of the same network, data set and norm.",
        )
    damaged = next((name for name, tensor in weights.items() if not torch.isfinite(tensor).all()), None)
    if damaged is not None:
        raise RunError(
            "weights that are no numbers",
            expected="finite weights",
            got=f"others in {damaged} of {origin}",
            todo="Train the run again, or restore the file.",
        )
    network.load_state_dict(weights)
