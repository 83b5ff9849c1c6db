"""mlflow: MLflow Tracking, by its own environment variables (MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME)."""

import os
import time
from typing import Any, ClassVar

from bpsta_cli.tracking.loggers.remembered import Remembered
from bpsta_cli.tracking.registry import register
from bpsta_cli.tracking.rows import Ended, Row, Started

EXPERIMENT = "bpsta"
"""Where runs go unless MLFLOW_EXPERIMENT_NAME says it."""
STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}


@register
class MLflow:
    """One run there for one directory; RUN/logs/mlflow.json has its id, so that it goes on as the same."""

    name: ClassVar[str] = "mlflow"
    needs: ClassVar[str] = "mlflow"

    def start(self, run: Started) -> None:
        """Go on with the run there, or begin one, and send the rows that it lacks."""
        from mlflow import MlflowClient

        self._client: Any = MlflowClient()
        known = Remembered.of(run.logs / f"{self.name}.json", len(run.rows))
        self._known = known if known.id else known.kept(self._begun(run), 0)
        self._client.update_run(self._known.id, status="RUNNING")
        for row in run.rows[self._known.epochs :]:
            self.epoch(row)

    def epoch(self, row: Row) -> None:
        """Send a point of each curve."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        points = [Metric(name, value, now, row.epoch) for name, value in row.scalars.items()]
        self._client.log_batch(self._known.id, metrics=points)
        self._known = self._known.kept(self._known.id, row.epoch + 1)

    def finish(self, end: Ended) -> None:
        """Send the result."""
        for name, value in end.metrics.items():
            points = self._client.get_metric_history(self._known.id, f"final/{name}")
            if self._known.epochs not in {point.step for point in points}:  # else it was finished before
                self._client.log_metric(self._known.id, f"final/{name}", value, step=self._known.epochs)
        self._client.set_terminated(self._known.id, STATUS[end.state])

    def _begun(self, run: Started) -> str:
        """A new run of the experiment, with the settings as its parameters."""
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self._client.get_experiment_by_name(experiment)
        place = self._client.create_experiment(experiment) if found is None else found.experiment_id
        name: str = self._client.create_run(place, run_name=run.name).info.run_id
        for key, value in run.settings.items():
            self._client.log_param(name, key, value)
        return name
