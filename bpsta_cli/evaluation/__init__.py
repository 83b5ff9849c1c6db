"""What a trained network is worth: accuracy, accuracy over time, early exit, and the time that it takes."""

from bpsta_cli.evaluation.accuracy import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]
