"""Curves while a run trains: its rows, epoch by epoch, handed to whatever shows or keeps them. Loads no torch.

    for event in followed(training.train(settings, store, out, device=device), [make("tensorboard")], out):
        ...

`Logger` is all that one has to be; docs/logging.md has an example of one's own.
"""

from bpsta_cli.tracking import loggers  # registers them
from bpsta_cli.tracking.follow import followed
from bpsta_cli.tracking.registry import make, names, register
from bpsta_cli.tracking.rows import Ended, Logger, Row, Started

__all__ = ["Ended", "Logger", "Row", "Started", "followed", "loggers", "make", "names", "register"]
