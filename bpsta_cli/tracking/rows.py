"""What a logger is told: that a run starts, each of its epochs, and how it ended."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Row:
    """One epoch of a run.

    Attributes:
        epoch: its number, from 0: the step of a curve.
        phase: "twin" while the ReLU twin is trained, "spiking" after that.
        scalars: every number of its row in history.csv by its column: "train_loss", "accuracy" where it was evaluated,
            "train_firing_rate/lif1" and "gradient_norm/conv1" of each layer.
    """

    epoch: int
    phase: str
    scalars: dict[str, float]

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Row":
        """The row of an epoch's record; what is no finite number is left out."""
        numbers = {
            name: float(value)
            for name, value in record.items()
            if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
        }
        return cls(int(record["epoch"]), str(record["phase"]), numbers)


@dataclass(frozen=True)
class Started:
    """A run that starts, or goes on.

    Attributes:
        name: of the run's directory.
        logs: the folder that a logger may write into; it is made by whoever writes.
        settings: every setting by its key, "T", "data.epochs", "rule.alpha".
        rows: the epochs that were done before, whether they were logged then or not.
    """

    name: str
    logs: Path
    settings: dict[str, Any]
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Ended:
    """How a run ended, for this time.

    Attributes:
        state: "stopped" can go on; "failed" was ended by an error.
        metrics: what a finished run came to, by the keys of metrics.json: "accuracy", "loss", "firing_rate",
            "train_accuracy" and "selected_epoch"; empty of one that is not finished.
    """

    state: Literal["finished", "stopped", "failed"]
    metrics: dict[str, float] = field(default_factory=dict)


class Logger(Protocol):
    """Shows or keeps the curves of one run.

    Each method is called in the run's own process, between its steps; none may draw from the global random numbers.
    An error in `start` ends the command before anything is trained; one later is told once, and the run goes on
    without the logger.
    """

    def start(self, run: Started) -> None:
        """The run starts or goes on; afterwards each of `run.rows` is to stand in the curves exactly once."""

    def epoch(self, row: Row) -> None:
        """An epoch is done; it follows the last of `Started.rows` and of the calls before."""

    def finish(self, end: Ended) -> None:
        """Nothing follows."""
