"""Samples are evaluated once each, whatever the number of processes: nothing is padded, nothing left out."""

import numpy as np
import pytest
import torch
from rank_processes import CPU, together
from small_stores import write_store

from bpsta_cli.evaluation import accuracy
from bpsta_cli.network import build


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    x = np.random.RandomState(0).randint(0, 17, (61, 1, 8, 8)).astype(np.uint8)
    y = (np.arange(61) % 10).astype(np.int64)
    return write_store(tmp_path_factory.mktemp("evaluated") / "store", x, y, train=20, classes=10)


@pytest.mark.parametrize(("samples", "world"), [(41, 2), (41, 3), (40, 3), (2, 3), (1, 2)])
@pytest.mark.parametrize("method", ["bpsta", "ann"])
def test_the_result_is_that_of_one_process(store, tmp_path, monkeypatch, samples, world, method):
    monkeypatch.setattr(accuracy, "EVAL_BATCH", 8)  # several batches, the last not full
    torch.manual_seed(1)
    network = build("4C3-AP4-2Voting", (1, 8, 8), 10, method)
    seen = []

    def evaluated(ranks):
        seen.clear()
        result = accuracy.evaluate(
            network,
            store,
            store.split("test"),
            T=3,
            device=CPU,
            samples=samples,
            loss="tet",
            ranks=ranks,
            on_batch=lambda done, total: seen.append((done, total)),
        )
        assert seen[-1] == (samples, samples)
        return result

    alone = evaluated(None)
    assert alone.samples == samples == int(np.sum(alone.confusion))
    assert together(world, evaluated, tmp_path) == [alone] * world
