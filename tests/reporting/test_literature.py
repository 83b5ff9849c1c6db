"""The literature's values: every one with a text in which it was read, and Table 5 by its own equation."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pandas as pd
import pytest

from bpsta_cli.data import catalogue
from bpsta_cli.reporting.paper import literature

ROOT = Path(__file__).parent.parent.parent
COLUMNS = [
    "table",
    "dataset",
    "method",
    "training",
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
    4: {"dvs-gesture", "dvs-cifar10"},
    5: {"mnist", "n-mnist", "cifar10", "dvs-gesture", "dvs-cifar10"},
    6: {"dvs-gesture"},
}


@pytest.fixture(scope="module")
def rows():
    with (files("bpsta_cli.reporting") / "literature.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file)


def test_the_columns_are_those_that_are_documented(rows):
    assert list(rows.columns) == COLUMNS
    page = (ROOT / "docs" / "paper.md").read_text(encoding="utf-8")
    assert [column for column in COLUMNS if f"`{column}`" not in page] == []


def test_every_row_says_whose_value_it_is_and_where_it_was_read(rows):
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
    printed = literature.in_paper(rows)
    own = rows["reference"] == literature.PAPER
    for table in range(1, 7):
        (line,) = [line for line in page.splitlines() if line.startswith(f"| {table} |")]
        here = rows["table"] == table
        counts = [int((here & which).sum()) for which in (printed & own, printed & ~own, ~printed)]
        assert line.split("|")[3:6] == [f" {count} " for count in counts], table


def test_every_value_that_the_paper_prints_is_there_and_none_twice(rows):
    counts = rows[literature.in_paper(rows)].groupby("table").size().to_dict()
    assert counts == {1: 31, 2: 21, 3: 5, 4: 6, 5: 10, 6: 12}
    assert sum(counts.values()) == 85
    beyond = rows[~literature.in_paper(rows)]
    keys = ["table", "dataset", "reference", "accuracy_percent"]
    both = beyond.merge(rows[literature.in_paper(rows)], on=keys)
    assert both.empty  # what the paper prints stands among its rows
    assert literature.PAPER not in set(beyond["reference"])


def test_the_papers_rows_come_first_and_have_its_models_in_its_order(rows):
    printed = literature.in_paper(rows)
    assert not printed[printed.argmin() :].any()
    models = {table: list(dict.fromkeys(part["method"])) for table, part in rows[printed].groupby("table")}
    assert models[3] == ["Sample-level", "Attention RNN", "Sample-level + SE", "Harmonic filters", "BPSA+BPTA"]
    assert models[4] == ["baseline (STBP)", "BPSA", "BPSA+BPTA"]
    assert models[6] == ["BPSA+BPTA", "BPSA", "baseline (STBP)"]
    # a model of two lines, and 16 others: the 18 rows of Table 1; 14 of Table 2
    assert (len(models[1]) + 1, len(models[2])) == (18, 14)
    assert rows[rows["table"] == 6]["T"].tolist() == [32, 16, 8, 4] * 3


def test_no_row_stands_twice(rows):
    assert not rows.duplicated().any()
    keys = ["table", "dataset", "method", "reference", "structure", "T", "firing_rate"]
    assert not rows.duplicated(keys).any()


def test_table_5_follows_from_its_firing_rates(rows):
    energy = rows[rows["table"] == 5]
    off = (46 / (energy["T"] * energy["firing_rate"])).round(1) - energy["energy_ratio"]
    # one of the ten is printed as 29.5 where its rate gives 29.6; the table says so
    assert off.round(1).tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, pytest.approx(0.1)]
    assert rows.loc[rows["table"] != 5, ["firing_rate", "energy_ratio"]].isna().all(axis=None)


def test_the_wheel_carries_the_values():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["bpsta_cli"]
    packed = {path for pattern in patterns for path in (ROOT / "bpsta_cli").glob(pattern)}
    assert ROOT / "bpsta_cli" / "reporting" / "literature.csv" in packed
