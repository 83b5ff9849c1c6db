"""How far a run may be from itself where sums are added in another order: without the compiled kernels, or on a GPU."""

import csv
import io
from typing import Any

MOST = {"accuracy": 0.03, "firing rate": 0.02, "first loss": 1e-3, "first loss with spikes": 3e-3}
"""Sums in another order flip single spikes, and training amplifies each.

Runs with three other sets of instructions on one processor came to at most 0.011, 0.004, 4e-6 and 9e-4. A run of
another seed or rule is outside of it.
"""


def figures(metrics: dict[str, Any], history: str) -> dict[str, float]:
    """The figures of MOST that a run has: final ones, and the loss of the first epoch and of the first with spikes.

    Args:
        metrics: metrics.json.
        history: the text of history.csv.
    """
    epochs = list(csv.DictReader(io.StringIO(history)))
    spiking = next((epoch for epoch in epochs if epoch["phase"] == "spiking"), None)
    found = {
        "accuracy": metrics["accuracy"],
        "firing rate": metrics["firing_rate"],
        "first loss": float(epochs[0]["train_loss"]),
        "first loss with spikes": None if spiking is None else float(spiking["train_loss"]),
    }
    return {name: value for name, value in found.items() if value is not None}


def too_far(one: dict[str, float], other: dict[str, float]) -> dict[str, float]:
    """The figures in which two runs are further apart than MOST, with the distance."""
    distances = {name: abs(value - other[name]) for name, value in one.items()}
    return {name: distance for name, distance in distances.items() if distance > MOST[name]}
