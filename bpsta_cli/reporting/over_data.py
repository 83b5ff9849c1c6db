"""The methods against a baseline over all data at once: does a difference hold on data sets, and not on seeds alone?"""

from typing import Any

import pandas as pd

from bpsta_cli.reporting.artifacts import Table
from bpsta_cli.reporting.paired import paired
from bpsta_cli.reporting.seed_by_seed import MARGIN, RATE_MARGIN, differences, judged

FOLDER = "folder"
"""The data set of anybody's own files: what is in them its recipe says."""
KEYS = ["method", "against", "data_sets", "rows", "rows_below", "rows_sparser"]


def over_data(comparison: pd.DataFrame, *, margin: float = MARGIN, rate_margin: float = RATE_MARGIN) -> Table:
    """Each method's mean difference over data sets, with a paired t-test whose pairs are the data sets.

    Of a data set the mean differences of its structures and numbers of steps count as one value, their mean: they, like
    their seeds, have the data in common. A method that was run on one data set alone is left out.

    Args:
        comparison: the frame of `seed_by_seed`.
        margin: points of accuracy that do not matter.
        rate_margin: percent of the firing rate that do not matter.
    """
    rows: list[dict[str, Any]] = []
    data = comparison["dataset"].where(comparison["dataset"] != FOLDER, comparison["recipe"])
    for (method, against), found in comparison.assign(data=data).groupby(["method", "against"], sort=False):
        means = found.groupby("data", sort=False)[["accuracy_mean", "firing_rate_mean"]].mean()
        if len(means) == 1:
            continue
        rows.append(
            {
                **{"method": method, "against": against, "data_sets": len(means), "rows": len(found)},
                "rows_below": int((found["accuracy_mean"] < 0).sum()),
                "rows_sparser": int((found["firing_rate_mean"] < 0).sum()),
                "accuracy": paired(means["accuracy_mean"].tolist()),
                "firing_rate": paired(means["firing_rate_mean"].tolist()),
            }
        )
    frame = judged(rows, KEYS, margin, rate_margin)
    shown = frame[["method", "against"]].assign(**{"data sets": frame["data_sets"].astype(str)})
    for title, key in (("less accurate", "rows_below"), ("fires less", "rows_sparser")):
        shown[title] = frame[key].astype(str) + " of " + frame["rows"].astype(str)
    display = pd.concat([shown, differences(frame)], axis=1)
    note = (
        "Less accurate and fires less: in how many of the rows of comparison.md the mean is below the baseline's. The "
        "differences are the means over data sets, each the mean of its rows, so that data sets and not seeds are the "
        "pairs of the t-test: 95 % intervals, p corrected by Holm's method over the rows of this table, accuracy and "
        "firing rate each for itself. Could be seen: with as many data sets and this spread in 80 % of studies, at "
        "5 %, uncorrected. "
        f"Within: the whole interval lies inside ± {margin:g} points, or ± {rate_margin:g} % of the rate."
    )
    text = ("method", "against", "verdict", "verdict (rate)")
    return Table("over-data", "The methods over all data", note, frame, display, text_columns=text)
