"""wandb: Weights & Biases, by its own environment variables (WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY)."""

import os
import time
import uuid
from typing import Any, ClassVar

from bpsta_cli.tracking.loggers.remembered import Remembered
from bpsta_cli.tracking.registry import register
from bpsta_cli.tracking.rows import Ended, Row, Started

PROJECT = "bpsta"
"""Where runs go unless WANDB_PROJECT says it."""
EXIT_CODES = {"finished": 0, "stopped": 0, "failed": 1}


@register
class WeightsAndBiases:
    """One run there for one directory; RUN/logs/wandb.json has its id, so that it goes on as the same.

    Neither code nor the terminal's output is sent.
    """

    name: ClassVar[str] = "wandb"
    needs: ClassVar[str] = "wandb"

    def start(self, run: Started) -> None:
        """Go on with the run there, or begin one, and send the rows that it lacks."""
        import wandb

        run.logs.mkdir(parents=True, exist_ok=True)
        known = Remembered.of(run.logs / f"{self.name}.json", len(run.rows))
        known = known if known.id else known.kept(uuid.uuid4().hex[:12], 0)
        # its folders are named by the second: one that begins in the second of another would replace it
        while any(run.logs.glob(f"wandb/*{time.strftime('%Y%m%d_%H%M%S')}-{known.id}")):
            time.sleep(0.1)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=known.id,
            resume="allow",
            name=run.name,
            dir=str(run.logs),
            config=run.settings,
            settings=wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )
        self._known = known
        for row in run.rows[known.epochs :]:
            self.epoch(row)

    def epoch(self, row: Row) -> None:
        """Send a point of each curve."""
        self._run.log(row.scalars, step=row.epoch)
        self._known = self._known.kept(self._known.id, row.epoch + 1)

    def finish(self, end: Ended) -> None:
        """Send the result."""
        self._run.summary.update({f"final/{name}": value for name, value in end.metrics.items()})
        self._run.finish(exit_code=EXIT_CODES[end.state])
