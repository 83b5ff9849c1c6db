"""A trained ReLU twin with few-bit activations and 8-bit weights: the rival of the quantised energy account.

`quantise` folds the norms, rounds weights and activations, and chooses the activations' steps on calibration samples;
`fine_tune` trains the rounded network for a few epochs; `measure` does both and gives the test accuracies.
"""

from bpsta_cli.quantisation.fine_tuning import fine_tune
from bpsta_cli.quantisation.measured import QuantisedAccuracy, measure
from bpsta_cli.quantisation.twin import QuantisedTwin, quantise

__all__ = ["QuantisedAccuracy", "QuantisedTwin", "fine_tune", "measure", "quantise"]
