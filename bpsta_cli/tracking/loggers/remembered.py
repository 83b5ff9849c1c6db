"""Which run of a tracker a run's directory belongs to, and how many of its epochs the tracker has."""

from dataclasses import dataclass
from pathlib import Path

from bpsta_cli import files
from bpsta_cli.reading import UnreadableError, documents


@dataclass(frozen=True)
class Remembered:
    """RUN/logs/NAME.json.

    Attributes:
        file: where it stands.
        id: of the tracker's run; empty: none yet.
        epochs: how many it has of it.
    """

    file: Path
    id: str = ""
    epochs: int = 0

    @classmethod
    def of(cls, file: Path, done: int) -> "Remembered":
        """What the file says; nothing where it has more epochs than are done: the run was begun anew since."""
        try:
            found = documents.json_object(file)
            known = cls(file, str(found["id"]), int(found["epochs"]))
        except (UnreadableError, KeyError, TypeError, ValueError):
            return cls(file)
        return known if known.epochs <= done else cls(file)

    def kept(self, name: str, epochs: int) -> "Remembered":
        """Write the tracker's `name` of the run and its epochs down."""
        files.write_json(self.file, {"id": name, "epochs": epochs})
        return Remembered(self.file, name, epochs)
