"""The loggers that come with the package, one a file; each imports what it needs when a run starts."""

from bpsta_cli.tracking.loggers.history import History  # the first: lists are in the order of registration

# isort: split
from bpsta_cli.tracking.loggers.dvclive import DVCLive
from bpsta_cli.tracking.loggers.tensorboard import TensorBoard

# isort: split
from bpsta_cli.tracking.loggers.mlflow import MLflow
from bpsta_cli.tracking.loggers.wandb import WeightsAndBiases

__all__ = ["DVCLive", "History", "MLflow", "TensorBoard", "WeightsAndBiases"]
