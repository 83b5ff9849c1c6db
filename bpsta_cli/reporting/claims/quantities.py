"""What is measured of a run: a number for each claim's quantity, NaN where the run does not have it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bpsta_cli.reporting.collect import RunResults

if TYPE_CHECKING:
    import pandas as pd

FEWEST = 3
"""Evaluations that a standard deviation of changes from one to the next needs."""


@dataclass(frozen=True)
class Quantity:
    """One measure.

    Attributes:
        title: what it is, in words.
        of: its value for a run.
        unit: of a value; "" for none.
        distance: of the difference of two; "" for none.
        digits: decimals that readers are shown.
        printed: the column of literature.csv that has the paper's value, "" where it prints none.
        ratio: two of them are compared by their ratio, and not by their difference.
        signed: it is a difference itself, and shown with its sign.
        absent: what is said where runs do not have it.
    """

    title: str
    of: Callable[[RunResults], float]
    unit: str = ""
    distance: str = ""
    digits: int = 2
    printed: str = ""
    ratio: bool = False
    signed: bool = False
    absent: str = "not measured"

    def in_paper(self, row: "pd.Series[Any]") -> float:
        """The value that a row of literature.csv prints; NaN where it prints none."""
        value = float(row[self.printed]) if self.printed else math.nan
        return 100 / value if self.printed == "energy_ratio" else value


def _accuracy(run: RunResults) -> float:
    return 100 * float(run.train["accuracy"])


def _firing_rate(run: RunResults) -> float:
    rate = run.train["firing_rate"]
    return math.nan if rate is None else float(rate)


def _share(account: str) -> Callable[[RunResults], float]:
    """Energy, percent of the twin's: the inverse of E_ANN / E_SNN."""

    def share(run: RunResults) -> float:
        ratio = run.energy.get(account, {}).get("ratio")
        return 100 / ratio if ratio else math.nan

    return share


def _first_and_later(run: RunResults) -> tuple[float, float]:
    """Mean firing rate of the first half of the convolutions, at least of one, and of the others."""
    layers = [layer for layer in run.energy.get("layers", ()) if layer["kind"] == "conv"]
    rates = [layer["firing_rate"] for layer in layers if layer["firing_rate"] is not None]
    if len(rates) < 2:
        return math.nan, math.nan
    first = len(rates) // 2
    return sum(rates[:first]) / first, sum(rates[first:]) / (len(rates) - first)


def _first_less_later(run: RunResults) -> float:
    first, later = _first_and_later(run)
    return first - later


def _roughness(run: RunResults) -> float:
    """Standard deviation of the change of test accuracy from one evaluation to the next, percentage points.

    Over the evaluations of the second half of the spiking epochs; NaN where they are fewer than `FEWEST`.
    """
    spiking = run.history[run.history["phase"] == "spiking"]
    evaluated = spiking.iloc[len(spiking) // 2 :]["accuracy"].dropna()
    return float(100 * evaluated.diff().std()) if len(evaluated) >= FEWEST else math.nan


def _overfit(run: RunResults) -> float:
    return 100 * float(run.history["train_accuracy"].iloc[-1] - run.train["accuracy"])


RATE = "spikes a neuron and time step"
QUANTITIES = {
    "accuracy": Quantity("test accuracy", _accuracy, "%", "points", printed="accuracy_percent"),
    "firing_rate": Quantity(f"firing rate, {RATE}", _firing_rate, digits=4, printed="firing_rate"),
    "first_rate": Quantity(
        f"firing rate of the first half of the convolutions, {RATE}",
        lambda run: _first_and_later(run)[0],
        digits=4,
        absent="firing rates by layer not measured",
    ),
    "first_less_later": Quantity(
        "firing rate of the first half of the convolutions less that of the others",
        _first_less_later,
        digits=4,
        signed=True,
        absent="firing rates by layer not measured",
    ),
    "energy_eq1": Quantity(
        "energy by Eq. 1, of the twin's",
        _share("paper"),
        "%",
        printed="energy_ratio",
        ratio=True,
        absent="energy not counted",
    ),
    "energy_counted": Quantity(
        "energy of the operations that happened, of the twin's",
        _share("counted"),
        "%",
        ratio=True,
        absent="energy not counted",
    ),
    "roughness": Quantity(
        "standard deviation of the change of test accuracy from one evaluation to the next",
        _roughness,
        "points",
        "points",
        absent=f"fewer than {FEWEST} evaluations in the second half of the spiking epochs",
    ),
    "overfit": Quantity("training accuracy less test accuracy at the end", _overfit, "points", "points", signed=True),
}
"""A quantity's name in claims.toml -> what it is."""
