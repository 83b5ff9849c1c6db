"""Small things that several tests share: a store of few digits, a store of stripes, settings of a short run."""

import os

import numpy as np
import pytest
import torch
from small_stores import write_store

from bpsta_cli.config import RunSettings
from bpsta_cli.data.store import verified
from bpsta_cli.rules import registry as rules
from bpsta_cli.tracking import registry as loggers

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # read when Triton is imported: the GPU's kernels then run here
torch.set_num_threads(1)
"""Nothing here is large enough to share out, and tests on a busy machine would wait for each other."""

NETWORK = "4C3-MP2-6C3-AP4-2Voting"
"""Runs on 8 x 8 in no time and has both kinds of pooling."""


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """96 training and 40 test images of scikit-learn's digits, ten classes."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x, y = bunch.images[:136, None].astype(np.uint8), bunch.target[:136].astype(np.int64)
    return write_store(tmp_path_factory.mktemp("digits") / "store", x, y, train=96, classes=10)


@pytest.fixture
def settings():
    """Settings of a run on `digits`; keyword arguments of sub-models are given as dictionaries."""

    def make(*, data=None, training=None, **run):
        data = {"network": NETWORK, "epochs": 3, "warmup_epochs": 1, "batch_size": 40, **(data or {})}
        run = {"dataset": "digits", "T": 3, "seed": 1, **run}
        return RunSettings.model_validate({**run, "data": data, "training": {"lr": 0.01, **(training or {})}})

    return make


@pytest.fixture(autouse=True)
def _same_weights_every_time():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _verified_arrays_are_not_noted_in_the_users_cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verified")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verified, "_folder", lambda: folder)
        yield


@pytest.fixture(autouse=True, scope="session")
def _data_go_into_no_folder_of_the_users(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("BPSTA_DATA", raising=False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _rules_and_loggers_that_a_file_of_tests_registers_end_with_it():
    tables = (rules._rules, rules._files, rules._hashes, loggers._loggers)
    before = [dict(table) for table in tables]
    yield
    for table, kept in zip(tables, before, strict=True):
        table.clear()
        table.update(kept)
