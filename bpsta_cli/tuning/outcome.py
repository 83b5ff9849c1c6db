"""What a trial is told by: the validation columns of its run's history, and no other."""

import math
from pathlib import Path

import pandas as pd

from bpsta_cli.reading import documents
from bpsta_cli.reporting.run_table import RATES, lowest_layer_rate


def outcome(run: Path) -> dict[str, float]:
    """What a trial is told by: the last epoch's values of the validation part; no column of the test part is read.

    Args:
        run: a run directory whose training selects on the validation part.

    Returns:
        value: accuracy; firing_rate: of the network; lowest_layer_rate: of the layer that fired least in training;
        seconds: of training.
    """
    wanted = ("validation_accuracy", "validation_firing_rate")
    history = pd.read_csv(run / "history.csv", usecols=lambda name: name in wanted or name.startswith(RATES))
    last = history.iloc[-1]
    lowest = lowest_layer_rate(last)
    seconds = math.fsum(documents.json_object(run / "timings.json")["epoch_seconds"])
    return {
        "value": last[wanted[0]],
        "firing_rate": last[wanted[1]],
        "lowest_layer_rate": math.nan if lowest is None else lowest,
        "seconds": seconds,
    }
