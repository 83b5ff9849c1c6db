"""The accuracy of the quantised ReLU twins that a spiking run's quantised account prices."""

import os
from pathlib import Path
from typing import Any

from bpsta_cli.reporting import records, results_provenance
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.rules import TWIN

Quantised = dict[str, Any]
"""What `bpsta eval --bits` gives of a twin under "quantised"."""

COLUMNS = ("twin_accuracy", "calibrated_twin_accuracy", "quantised_twin_accuracy")
"""Test accuracies of twins: as trained, quantised by calibration alone, and with fine-tuning where there was any."""
NOTE = (
    "'quantised twin, %' is that of the twin with activations of ceil(log2(T + 1)) bits and weights of 8, as "
    "bpsta eval --bits auto measures it after calibration and fine-tuning on training samples; mean ± standard "
    "deviation over the seeds of the twin's runs, a dash where none was quantised so."
)


def accuracies(run: RunResults, runs: list[RunResults]) -> dict[str, list[float]]:
    """For each of `COLUMNS` the accuracies of the twins of a spiking run, one a seed.

    A quantised one has the bits of the run's quantised account. A twin sees one image whatever T is, but other frames
    of events.
    """
    bits = run.energy.get("quantised", {}).get("bits")
    still = run.energy.get("frames", 1) == 1
    twins: dict[int, RunResults] = {}
    quantised: dict[int, Quantised] = {}
    for other in runs:
        same = (other.recipe, other.train["network"]) == (run.recipe, run.train["network"])
        if other.train["method"] != TWIN or not same or not (still or other.train["T"] == run.train["T"]):
            continue
        twins.setdefault(other.train["seed"], other)
        found = other.evaluation.get("quantised")
        if found and found["bits"] == bits:
            quantised.setdefault(other.train["seed"], found)
    return {
        "twin_accuracy": [twin.train["accuracy"] for twin in twins.values()],
        "calibrated_twin_accuracy": [found["accuracy"] for found in quantised.values()],
        "quantised_twin_accuracy": [best_known(found) for found in quantised.values()],
    }


def best_known(found: Quantised) -> float:
    """The accuracy after fine-tuning, or after calibration alone where there was none; the test set chooses neither."""
    return float((found["fine_tuned"] or found)["accuracy"])


def recorded(run: Path, weights_sha256: str) -> Quantised | None:
    """What was measured of a twin: beside its weights, as eval.json, or where the pipeline keeps it; None: nothing.

    What is of other weights does not count.

    Raises:
        RunError: a file that cannot be read.
    """
    where = run.resolve()
    candidates = [where / "eval.json"]
    if where.parent.name == results_provenance.TRAIN:
        candidates.append(where.parent.parent / "eval" / f"{where.name}.json")
    for file in candidates:
        if os.path.lexists(file):
            found = records.read(file, "eval")
            if found.get("weights_sha256") == weights_sha256 and found.get("quantised"):
                quantised: Quantised = found["quantised"]
                return quantised
    return None
