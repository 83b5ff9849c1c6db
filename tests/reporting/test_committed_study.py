"""docs/study: the tables of the rules compared are made of the runs' table beside them, and the page shows no other."""

import re
from pathlib import Path

import pandas as pd
import pytest

from bpsta_cli.reporting.artifacts import markdown
from bpsta_cli.reporting.at_a_glance import at_a_glance
from bpsta_cli.reporting.front import front
from bpsta_cli.reporting.over_data import over_data
from bpsta_cli.reporting.run_table import read_run_table
from bpsta_cli.reporting.seed_by_seed import seed_by_seed
from bpsta_cli.reporting.tables import mean_sd

ROOT = Path(__file__).parents[2]
STUDY, LITE, PAGE = ROOT / "docs" / "study", ROOT / "results" / "lite", ROOT / "docs" / "rules.md"
FOUR = ("stbp", "stbp-lean", "bpsa", "bpsta")
LONG = "synthetic-speech-long"
CELL_OF_A_TABLE = re.compile(r"\d+\.\d+ ± \d+\.\d+[ ↑↓]*(?:\(0\.\d+[ ↑↓]*\))?")

pytestmark = pytest.mark.skipif(not LITE.is_dir(), reason="results/lite is not in this tree")


def compared():
    """The runs that the study compares."""
    runs = read_run_table(STUDY / "runs.csv")
    return runs[runs["method"].isin(FOUR) & (runs["recipe"] != LONG)]


def wide():
    return read_run_table(STUDY / "wide" / "runs.csv")


@pytest.mark.parametrize(
    ("runs", "baseline", "folder", "prefix"),
    [
        (compared, "stbp", STUDY, "comparison"),
        (compared, "stbp-lean", STUDY, "against-lean"),
        (wide, "stbp", STUDY / "wide", "comparison"),
    ],
    ids=["against stbp", "against stbp-lean", "wide"],
)
def test_the_comparison_is_made_of_the_committed_runs(runs, baseline, folder, prefix):
    found = runs()
    comparison = seed_by_seed(found, [baseline])
    assert comparison.frame.to_csv(index=False) == (folder / f"{prefix}.csv").read_text()
    assert markdown(comparison) == (folder / f"{prefix}.md").read_text()
    if folder == STUDY:
        whole, name = over_data(comparison.frame), "over-data" if baseline == "stbp" else f"{prefix}-over-data"
        assert whole.frame.to_csv(index=False) == (folder / f"{name}.csv").read_text()
        assert markdown(whole) == (folder / f"{name}.md").read_text()
    if baseline == "stbp":
        points = front(found)
        assert points.to_csv(index=False) == (folder / "front.csv").read_text()
        assert markdown(at_a_glance(points, comparison.frame, [baseline])) == (folder / "methods.md").read_text()


def test_every_mean_with_a_spread_that_the_page_shows_is_of_committed_runs():
    remedies = pd.read_csv(STUDY / "remedies.csv", keep_default_na=False)
    others = [read_run_table(file) for file in (STUDY / "runs.csv", LITE / "comparison" / "runs.csv")]
    tables = [*others, wide(), remedies]
    tables += [each[each["seed"] < 3] for each in tables]
    runs = pd.concat(tables, keys=range(len(tables)), names=["table"])
    made = set()
    for _, group in runs.groupby(["table", "recipe", "T", "method", "norm"]):
        accuracy = mean_sd(100 * group["accuracy"].mean(), 100 * group["accuracy"].std(), 2)
        made |= {accuracy, f"{accuracy} ({group['firing_rate'].astype(float).mean():.3f})"}
    shown = {re.sub(" [↑↓]", "", cell) for cell in CELL_OF_A_TABLE.findall(PAGE.read_text())}
    assert len(shown) > 50
    assert shown <= made, shown - made
