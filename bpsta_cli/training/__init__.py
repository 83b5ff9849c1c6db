"""How a network is trained: the loop, an epoch, the optimiser, the learning rate, and the directory of the run."""

from bpsta_cli.training.checks import check
from bpsta_cli.training.loop import Begun, EpochDone, Stopped, train

__all__ = ["Begun", "EpochDone", "Stopped", "check", "train"]
