"""The rules beside the baseline: how fast they learn, and whether their values differ."""

import math

import pandas as pd

from bpsta_cli.reporting.artifacts import KEYS, Table
from bpsta_cli.reporting.collect import RunResults
from bpsta_cli.reporting.tables import display_frame, keys_of, over_seeds
from bpsta_cli.rules import TWIN

BASELINE = "stbp"
P_VALUE = (
    "p is two-sided, from Welch's t-test over seeds (Welch 1947, doi:10.1093/biomet/34.1-2.28), and is not corrected "
    "for the number of rows."
)


def without_twin(runs: list[RunResults]) -> list[RunResults]:
    """The runs of learning rules."""
    return [run for run in runs if run.train["method"] != TWIN]


def learning(runs: list[RunResults]) -> Table:
    """Training accuracy at the end of the warm-up, after the first spiking epochs, half-way and at the end."""
    frame = over_seeds({**keys_of(run), **_milestones(run.history)} for run in without_twin(runs))
    display = display_frame(frame, {name: (title, 100, 2) for name, title in _TITLES.items()})
    display["seeds"] = frame["seeds"].astype(str)
    note = (
        "Training accuracy, %, of whole epochs; mean ± standard deviation over seeds. All rules share the warm-up; "
        "they differ from the first spiking epoch on."
    )
    return Table("learning", "How fast the rules learn", note, frame, display)


_TITLES = {
    "twin": "end of the warm-up",
    "first": "first spiking epoch",
    "second": "second",
    "half": "half-way",
    "end": "end",
}


def _milestones(history: pd.DataFrame) -> dict[str, float]:
    twin = history.loc[history["phase"] == "twin", "train_accuracy"]
    spiking = history.loc[history["phase"] == "spiking", "train_accuracy"].to_numpy()
    return {
        "twin": twin.iloc[-1] if len(twin) else math.nan,
        "first": spiking[0],
        "second": spiking[1] if len(spiking) > 1 else math.nan,
        "half": spiking[(len(spiking) - 1) // 2],
        "end": spiking[-1],
    }


def against_baseline(runs: list[RunResults]) -> Table:
    """Each rule's test accuracy and firing rate against the baseline's, with Welch's test over seeds.

    Welch 1947 (doi:10.1093/biomet/34.1-2.28): the two samples may differ in variance; the seeds are not paired.
    """
    rows = []
    runs = without_twin(runs)
    measured = ["accuracy", "firing_rate"]
    values = pd.DataFrame(
        ({**keys_of(run), **{name: run.train[name] for name in measured}} for run in runs),
        columns=[*KEYS, *measured],
    )
    for (dataset, T), group in values.groupby(["dataset", "T"], sort=False):
        baseline = group[group["method"] == BASELINE]
        for method in dict.fromkeys(group["method"]):
            own = group[group["method"] == method]
            if method != BASELINE and len(baseline):
                rows.append({"dataset": dataset, "T": T, "method": method, "seeds": len(own), **_differ(own, baseline)})
    frame = pd.DataFrame(rows, columns=[*KEYS, "seeds", *_DIFFERENCES])
    display = frame[KEYS].astype(str)
    display["accuracy, points"] = [f"{100 * value:+.2f}" for value in frame["accuracy_difference"]]
    display["p"] = [probability(value) for value in frame["accuracy_p"]]
    display["firing rate, %"] = [f"{100 * value:+.1f}" for value in frame["firing_rate_change"]]
    display["p (rate)"] = [probability(value) for value in frame["firing_rate_p"]]
    display["seeds"] = frame["seeds"].astype(str)
    note = (
        f"The mean of each rule minus that of {BASELINE}: test accuracy in percentage points, firing rate relative to "
        f"{BASELINE}'s. {P_VALUE}"
    )
    return Table("comparison", f"The rules against {BASELINE}", note, frame, display)


_DIFFERENCES = ("accuracy_difference", "accuracy_p", "firing_rate_change", "firing_rate_p")


def _differ(own: pd.DataFrame, baseline: pd.DataFrame) -> dict[str, float]:
    rate = baseline["firing_rate"].mean()
    return {
        "accuracy_difference": own["accuracy"].mean() - baseline["accuracy"].mean(),
        "accuracy_p": welch(own["accuracy"], baseline["accuracy"]),
        "firing_rate_change": own["firing_rate"].mean() / rate - 1 if rate else math.nan,
        "firing_rate_p": welch(own["firing_rate"], baseline["firing_rate"]),
    }


def welch(one: pd.Series, other: pd.Series) -> float:
    """Welch's two-sided p; NaN where one of the two has fewer than two values, or where neither varies."""
    if min(len(one), len(other)) < 2 or one.nunique() == other.nunique() == 1:
        return math.nan
    from scipy.stats import ttest_ind_from_stats

    moments = (one.mean(), one.std(), len(one), other.mean(), other.std(), len(other))
    return float(ttest_ind_from_stats(*moments, equal_var=False).pvalue)


def probability(value: float) -> str:
    """p for readers; a dash where there is none."""
    if math.isnan(value):
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
