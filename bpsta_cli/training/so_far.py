"""What an unfinished run has so far: the weights that its selection would choose if it ended now."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from bpsta_cli.errors import RunError
from bpsta_cli.training import checkpoint_files, tensor_files
from bpsta_cli.training.checkpoint_files import Checkpoints

_PART = {"network": "network/", "stored": "selected/"}
"""Where a checkpoint has the selected weights."""


@dataclass(frozen=True)
class SoFar:
    """The weights selected so far, all of one checkpoint: the run may go on meanwhile.

    Attributes:
        weights: by name.
        epoch: the epoch that they are of, counted from 0 as in history.csv.
    """

    weights: dict[str, Tensor]
    epoch: int

    @property
    def sha256(self) -> str:
        """SHA-256 of the model.safetensors that they would be."""
        return hashlib.sha256(tensor_files.pack(self.weights)).hexdigest()


def read(checkpoints: Checkpoints, checksum: str, run: Path) -> SoFar:
    """The weights in the newest checkpoint that is whole; there is at least one.

    Args:
        checkpoints: the run's.
        checksum: of its settings.json.
        run: its directory, for the error.

    Raises:
        RunError: no checkpoint is whole, or no epoch of the spiking network was finished.
    """
    found, _ = checkpoints.newest(lambda file: checkpoint_files.read(file, checksum))
    assert found is not None, "there is a checkpoint"
    tensors, state = found
    part, epoch = _PART.get(state.get("selected", "")), state.get("best_epoch")
    if part is None or not isinstance(epoch, int):
        raise RunError(
            "no usable weights",
            expected="an epoch of the spiking network",
            got=f"{run}, stopped before one was finished",
            todo="Start bpsta train again with the same --out: the run goes on.",
        )
    weights = {name.removeprefix(part): tensor for name, tensor in tensors.items() if name.startswith(part)}
    return SoFar(weights, epoch)
