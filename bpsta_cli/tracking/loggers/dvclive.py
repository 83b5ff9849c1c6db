"""dvclive: files that DVC, its extension for VS Code and DVC Studio show; one of numbers for each curve."""

from typing import Any, ClassVar

from bpsta_cli.tracking.registry import register
from bpsta_cli.tracking.rows import Ended, Row, Started


@register
class DVCLive:
    """RUN/logs/dvclive, written anew from the run's rows whenever it starts or goes on.

    It makes no experiment of DVC and no dvc.yaml: a run belongs to whoever started it.
    """

    name: ClassVar[str] = "dvclive"
    needs: ClassVar[str] = "dvclive"

    def start(self, run: Started) -> None:
        """Remove what is there, and write the rows so far."""
        from dvclive.live import Live

        self._live: Any = Live(dir=str(run.logs / self.name), save_dvc_exp=False, dvcyaml=None, report=None)
        self._live.log_params({key: "none" if value is None else value for key, value in run.settings.items()})
        for row in run.rows:
            self.epoch(row)

    def epoch(self, row: Row) -> None:
        """A line for each number."""
        self._live.step = row.epoch
        for name, value in row.scalars.items():
            self._live.log_metric(name, value)
        self._live.make_summary()

    def finish(self, end: Ended) -> None:
        """The last numbers, as `dvc metrics` shows them."""
        if end.metrics:
            self._live.summary["final"] = end.metrics
        self._live.end()
