"""The literature's figures: every one with a text in which it was read, and Table 5 by its own equation."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from bpsta_cli.data import catalogue

ROOT = Path(__file__).parent.parent.parent
COLUMNS = [
    "table",
    "dataset",
    "method",
    "reference",
    "doi_or_arxiv",
    "structure",
    "T",
    "accuracy_percent",
    "sd_percent",
    "firing_rate",
    "energy_ratio",
    "quoted_from",
    "checked",
]
TABLES = {
    1: {"mnist", "cifar10", "cifar100"},
    2: {"n-mnist", "dvs-gesture", "dvs-cifar10"},
    3: {"speech-commands"},
}


@pytest.fixture(scope="module")
def rows():
    with (files("bpsta_cli.reporting") / "literature.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def test_the_columns_are_those_that_are_documented(rows):
    assert list(rows.columns) == COLUMNS
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    assert [column for column in COLUMNS if f"`{column}`" not in page] == []


def test_every_row_says_whose_figure_it_is_and_where_it_was_read(rows):
    assert rows[["table", "reference", "quoted_from"]].notna().all(axis=None)
    assert set(rows["checked"]) == {"yes"}
    assert rows["reference"].str.contains(r" (?:19|20)\d\d\b").all()


def test_every_accuracy_is_a_percentage_and_a_spread_is_a_small_one(rows):
    accuracy = rows["accuracy_percent"].dropna()
    assert accuracy.between(50, 100).all()  # a fraction, or an error rate, would lie below
    assert rows["sd_percent"].dropna().between(0, 5).all()
    assert rows.loc[rows["sd_percent"].notna(), "accuracy_percent"].notna().all()
    steps = rows["T"].dropna()
    assert (steps == steps.round()).all()
    assert (steps >= 1).all()


def test_a_data_set_is_the_catalogues_and_stands_in_its_table(rows):
    of_accuracy = rows[rows["accuracy_percent"].notna()]
    assert set(of_accuracy["dataset"]) <= set(catalogue.names())
    for table, part in of_accuracy.groupby("table"):
        assert set(part["dataset"]) == TABLES[table]


def test_the_page_counts_the_rows_as_they_are(rows):
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    others = rows[rows["reference"] != "Shen et al. 2022"]
    for table in range(1, 7):
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {table} |")]
        count = int((others["table"] == table).sum())
        assert line.endswith({0: "| none |", 1: "| 1 row |"}.get(count, f"| {count} rows |")), table


def test_no_row_stands_twice(rows):
    assert not rows.duplicated().any()
    keys = ["table", "dataset", "method", "reference", "structure", "T", "firing_rate"]
    assert not rows.duplicated(keys).any()


def test_table_5_follows_from_its_firing_rates(rows):
    energy = rows[rows["table"] == 5]
    assert len(energy) == 9
    assert list((46 / (energy["T"] * energy["firing_rate"])).round(1)) == list(energy["energy_ratio"])
    assert rows.loc[rows["table"] != 5, ["firing_rate", "energy_ratio"]].isna().all(axis=None)


def test_the_wheel_carries_the_figures():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bpsta_cli"]
    packed = {path for pattern in patterns for path in (ROOT / "bpsta_cli").glob(pattern)}
    assert ROOT / "bpsta_cli" / "reporting" / "literature.csv" in packed
