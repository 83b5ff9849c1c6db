"""tensorboard: event files, for `tensorboard --logdir` of a folder of runs."""

import json
from typing import Any, ClassVar

from bpsta_cli.tracking.registry import register
from bpsta_cli.tracking.rows import Ended, Row, Started


@register
class TensorBoard:
    """RUN/logs/tensorboard, written anew from the run's rows whenever it starts or goes on."""

    name: ClassVar[str] = "tensorboard"
    needs: ClassVar[str] = "tensorboard"

    def start(self, run: Started) -> None:
        """Remove the event files that are there, and write the rows so far."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.logs / self.name
        for file in folder.glob("events.out.tfevents.*"):
            file.unlink()
        self._writer: Any = SummaryWriter(str(folder))
        self._writer.add_text("settings", f"```json\n{json.dumps(run.settings, indent=2)}\n```")
        for row in run.rows:
            self._write(row)
        self._writer.flush()

    def epoch(self, row: Row) -> None:
        """A point of each curve, on the disk when it returns."""
        self._write(row)
        self._writer.flush()

    def finish(self, end: Ended) -> None:
        """The result, as one point of each number."""
        for name, value in end.metrics.items():
            self._writer.add_scalar(f"final/{name}", value, 0)
        self._writer.close()

    def _write(self, row: Row) -> None:
        for name, value in row.scalars.items():
            self._writer.add_scalar(name, value, row.epoch)
