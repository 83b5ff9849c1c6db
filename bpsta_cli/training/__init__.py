"""How a network is trained: the loop, an epoch, the optimiser, the learning rate, and the directory of the run.

    settings = training.settings("digits", T=4, epochs=3)
    for event in training.train(settings, training.data(settings), "runs/digits"):
        print(event)

`train` yields what happens, each event of a type of its own: `Begun`, `StepDone`, `EpochDone`, `Stopped`.
"""

from bpsta_cli.training.arguments import data, settings
from bpsta_cli.training.checks import check
from bpsta_cli.training.epoch import StepDone
from bpsta_cli.training.loop import Begun, EpochDone, Stopped, train

__all__ = ["Begun", "EpochDone", "StepDone", "Stopped", "check", "data", "settings", "train"]
