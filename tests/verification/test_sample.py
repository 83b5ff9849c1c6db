"""A sample is spread over data sets, methods and T, and is always the same."""

import itertools
from pathlib import Path

import pytest

from bpsta_cli.config import RunSettings
from bpsta_cli.training.run_directory import RunInfo
from bpsta_cli.verification import Record, spread

DATA = {"network": "4C3-AP4-2Voting", "epochs": 2, "warmup_epochs": 1, "batch_size": 4}


def a_record(dataset, method, T, seed):
    settings = RunSettings(dataset=dataset, method=method, T=T, seed=seed, data=DATA)
    info = RunInfo(settings=settings, input_shape=(1, 8, 8), classes=("a",), data_hash="")
    return Record(Path(f"{dataset}-{method}-T{T}-s{seed}"), info, {}, "", {}, {})


@pytest.fixture(scope="module")
def records():
    sets, methods = ("digits", "synthetic-gestures", "synthetic-speech"), ("ann", "bpsa", "bpsta", "stbp")
    return [a_record(*marks) for marks in itertools.product(sets, methods, (8, 16), (0, 1))]


def marks(records, name):
    return [getattr(record.info.settings, name) for record in records]


def test_three_runs_are_of_three_data_sets_and_three_methods(records):
    chosen = spread(records, 3)
    assert len(set(marks(chosen, "dataset"))) == len(set(marks(chosen, "method"))) == 3
    assert set(marks(chosen, "T")) == {8, 16}


def test_twelve_runs_are_every_method_of_every_data_set(records):
    pairs = set(zip(*(marks(spread(records, 12), name) for name in ("dataset", "method")), strict=True))
    assert len(pairs) == 12


def test_a_sample_is_the_same_each_time_in_the_given_order_and_no_larger_than_what_is_there(records):
    chosen = spread(records, 7)
    assert chosen == spread(records, 7) == [record for record in records if record in chosen]
    assert spread(records, 100) == records
