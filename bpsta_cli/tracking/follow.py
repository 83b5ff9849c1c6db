"""The events of a training on their way to whoever trains, with each logger told of them."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bpsta_cli.errors import BpstaError, BpstaWarning, SettingsError
from bpsta_cli.reading import documents
from bpsta_cli.tracking.rows import Ended, Logger, Row, Started

if TYPE_CHECKING:
    from bpsta_cli.training.loop import Event

LOGS = "logs"
"""The folder of a run's directory that loggers write into."""
RESULT = ("accuracy", "loss", "firing_rate", "train_accuracy", "selected_epoch")
"""The numbers of metrics.json that a finished run came to."""


def followed(events: "Iterator[Event]", loggers: Sequence[Logger], out: str | Path) -> "Iterator[Event]":
    """The same events, and nothing of the run is another for it.

    A run that is finished already yields none; its loggers are given its rows all the same.

    Args:
        events: of `training.train`.
        loggers: those that are told; an epoch before its event is handed on.
        out: the run directory.

    Raises:
        SettingsError: a logger could not start.

    Warns:
        BpstaWarning: a logger failed later; it is told nothing any more.
    """
    if not loggers:
        yield from events
        return
    from bpsta_cli.training import Begun, EpochDone

    out, begun = Path(out), False
    told = _Told(loggers, out)
    state: Literal["finished", "stopped", "failed"] = "stopped"
    try:
        for event in events:
            if isinstance(event, Begun):
                begun = True
                told.start([Row.of(record) for record in event.history])
            elif isinstance(event, EpochDone):
                told.epoch(Row.of(event.record))
            yield event
        if not begun:
            told.start(_rows_of(out))
        state = "finished" if _is_finished(out) else "stopped"
    except Exception:
        state = "failed"
        raise
    finally:
        told.finish(state)


class _Told:
    """The loggers that are still told something."""

    def __init__(self, loggers: Sequence[Logger], out: Path) -> None:
        self.waiting, self.loggers, self.out = list(loggers), list[Logger](), out

    def start(self, rows: list[Row]) -> None:
        from bpsta_cli.training.run_directory import RunDir

        run = Started(self.out.absolute().name, self.out / LOGS, RunDir(self.out).info().settings.flat(), tuple(rows))
        for logger in self.waiting:
            try:
                logger.start(run)
            except BpstaError:
                raise
            except Exception as error:
                raise SettingsError(
                    f"the logger {_name(logger)} cannot start",
                    expected="one that takes the run's curves",
                    got=f"{type(error).__name__}: {error}",
                    todo="Mend that, or leave --log out; the run goes on by train --resume.",
                ) from error
            self.loggers.append(logger)

    def epoch(self, row: Row) -> None:
        self._tell(lambda logger: logger.epoch(row))

    def finish(self, state: Literal["finished", "stopped", "failed"]) -> None:
        metrics = documents.json_object(self.out / "metrics.json") if state == "finished" else {}
        numbers = {name: float(metrics[name]) for name in RESULT if isinstance(metrics.get(name), int | float)}
        self._tell(lambda logger: logger.finish(Ended(state, numbers)))

    def _tell(self, say: Callable[[Logger], None]) -> None:
        for logger in list(self.loggers):
            try:
                say(logger)
            except Exception as error:  # curves cost no run
                self.loggers.remove(logger)
                message = f"the logger {_name(logger)} failed and is left out from here on: {error}"
                warnings.warn(message, BpstaWarning, stacklevel=2)


def _name(logger: Logger) -> str:
    return getattr(logger, "name", type(logger).__name__)


def _is_finished(out: Path) -> bool:
    return (out / "metrics.json").is_file()


def _rows_of(out: Path) -> list[Row]:
    """The rows of a finished run's history.csv."""
    records = documents.table(out / "history.csv").to_dict("records")
    return [Row.of({str(name): value for name, value in record.items()}) for record in records]
