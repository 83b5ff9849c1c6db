"""The files of an unfinished run's training state: the newest checkpoint, and the one before it in case of damage.

Each is one safetensors file: weights, the optimiser's state and the epoch's sums as tensors, all else as JSON in its
metadata, and a checksum over all of it. So no order in which files are written matters: whatever is there is whole.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from bpsta_cli import files
from bpsta_cli.checksums import DamagedError
from bpsta_cli.errors import RunError
from bpsta_cli.training import tensor_files
from bpsta_cli.training.tensor_files import Header

Found = TypeVar("Found")
Content = tuple[dict[str, Tensor], dict[str, Any]]
"""The tensors and the state in a checkpoint."""


class Checkpoints:
    """The folder `checkpoints` of one run's directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: Path | None = None
        """The last one known to be good: written or read by this object."""

    def files(self) -> list[Path]:
        """Every checkpoint, the newest first."""
        return sorted(self.folder.glob("epoch-*-step-*.safetensors"), reverse=True)

    def write(self, epoch: int, step: int, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        """Write the state after `epoch` epochs and `step` steps; of the others only the last good one is kept."""
        file = self.folder / f"epoch-{epoch:06d}-step-{step:09d}.safetensors"
        content = tensor_files.pack(tensors, {"state": json.dumps(state, allow_nan=False)})
        with files.replacing(file) as opened:
            opened.write(content)
        for other in self.files():
            if other not in (file, self._last):
                other.unlink(missing_ok=True)
        self._last = file

    def newest(self, use: Callable[[Path], Found]) -> tuple[Found | None, list[str]]:
        """What `use` makes of the newest checkpoint that is whole, None where there is none; and what is wrong.

        Args:
            use: reads a file; raises DamagedError where it cannot be gone on from.

        Returns:
            With it, a sentence for each newer one that was passed over.

        Raises:
            RunError: there are checkpoints, and none of them is whole.
        """
        passed_over: list[str] = []
        for file in self.files():
            try:
                found = use(file)
            except DamagedError as damage:
                passed_over.append(f"{file} cannot be used: {damage}")
            else:
                self._last = file
                return found, [f"{wrong}. The run goes on from the one before it." for wrong in passed_over]
        if passed_over:
            raise RunError(
                "unreadable training state",
                expected="a checkpoint of this run as it was written",
                got="; ".join(passed_over),
                todo="Start the run anew with --overwrite.",
            )
        return None, []

    def move_to(self, other: "Checkpoints") -> None:
        """Put the newest one into `other`, in place of what is there, and remove the rest.

        The newest goes last: as long as any is left here, the same call again does the same.
        """
        newest, *rest = self.files()
        for file in (*rest, *other.files()):
            if file.name != newest.name:
                file.unlink()
        other.folder.mkdir(parents=True, exist_ok=True)
        newest.replace(other.folder / newest.name)
        self.clear()

    def clear(self) -> None:
        """Remove all of them, and the folder where nothing else is in it."""
        if not self.folder.is_dir():
            return
        files.sweep(self.folder)
        for file in self.files():
            file.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()


def read(file: Path, run: str, check: Callable[[Header], None] | None = None) -> Content:
    """The tensors and the state in a checkpoint.

    Args:
        file: a checkpoint.
        run: the checksum of its run's settings.json.
        check: looks at the header before the numbers are read.

    Raises:
        DamagedError: it is damaged, or of another run.
    """
    tensors, metadata = tensor_files.read(file, check)
    try:
        state = json.loads(metadata.get("state", ""))
    except (ValueError, RecursionError):
        raise DamagedError("it holds no training state") from None
    if not isinstance(state, dict) or state.get("run") != run:
        raise DamagedError("it is another run's")
    return tensors, state
