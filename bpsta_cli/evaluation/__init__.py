"""How good and how fast a trained network is: accuracy, accuracy over time, early exit, measured time."""

from bpsta_cli.evaluation.accuracy import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
