"""What is measured: turns, ratios, firing rates, memory in a process of its own, the first use."""

from pathlib import Path

import pytest
import torch
from tiny_benchmark import CPU, TINY, quiet

from benchmarks import clock, comparisons, measuring, processes, profiling, trained, variants, weights
from bpsta_cli.errors import BpstaError
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.run_network import network_of


def test_turns_begin_with_another_one_each_round_and_the_first_are_not_timed():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "abc"}
    times = clock.in_turns(works, rounds=2, device=CPU, on_progress=quiet)
    assert "".join(order) == "abcbcacababc"
    assert {len(own) for own in times.values()} == {2}


def test_a_ratio_is_taken_within_each_round():
    assert clock.ratio([1.0, 20.0, 300.0], [2.0, 10.0, 100.0]) == clock.Spread(2.0, 1.25, 2.5)


def test_weights_are_set_so_that_every_layer_fires_as_often_as_after_training():
    network = comparisons.build(TINY.changed(network="8C3-MP2-8C3-AP4-16FC-16-8Voting"))
    x = torch.rand(8, 16, *TINY.shape)
    found = weights.calibrate(network, x)
    assert set(found) == set(network.neurons())
    assert all(abs(rate - weights.RATE) < 0.03 for rate in found.values()), found
    assert network.training


def test_a_trained_network_is_measured_on_its_own_samples_at_its_own_firing_rate(
    digits, settings, tmp_path, monkeypatch
):
    ran = settings()
    info = RunInfo(
        settings=ran, input_shape=digits.shape, classes=digits.classes, data_hash=digits.content_hash, provenance={}
    )
    RunDir(tmp_path).write_info(info)
    network = network_of(ran, digits.shape, len(digits.classes)).eval()
    RunDir(tmp_path).write_weights(network.state_dict())
    monkeypatch.setattr(trained, "prepared_store", lambda *_, **__: digits)
    found = trained.trained(TINY.changed(run=str(tmp_path)), CPU)
    assert found is not None
    assert found[1].shape == (ran.T, TINY.batch, *digits.shape)
    (row,) = measuring.inference(TINY, [variants.catalogue()[0]], CPU, quiet, found)
    assert (row["input"], row["T"], row["variant"]) == ("run", ran.T, "bpsta")
    expected = weights.rates(network, found[1])
    assert row["rate"] == pytest.approx(sum(expected.values()) / len(expected))
    assert trained.trained(TINY, CPU) is None


def test_a_profile_shares_out_the_whole_time(ours):
    rows = profiling.profiled(TINY.changed(T=(2,)), list(ours.values()), CPU, quiet)
    for kind in TINY.inputs:
        shares = {row["variant"]: row["median"] for row in rows if row["input"] == kind}
        assert sum(shares.values()) == pytest.approx(1, abs=0.05)
        assert min(shares[profiling.SYNAPSES], shares[profiling.OTHER]) > 0


def test_peak_memory_is_measured_in_a_process_of_its_own():
    settings = TINY.changed(T=(2,), inputs=("static",), batch=32, shape=(2, 64, 64))
    (row,) = processes.memory(settings, ["ann"], quiet)
    one_activation = 2 * 32 * 4 * 64 * 64 * 4 / processes.MIB
    assert (row["variant"], row["T"], row["unit"]) == ("ann", 2, "MiB")
    assert 2 * one_activation < row["median"] < 200


def test_the_first_use_has_an_empty_cache_and_then_what_was_built_into_it(monkeypatch):
    caches = []

    def child(what, _settings, environment, **_changed):
        folder = Path(environment["BPSTA_CACHE"])
        caches.append((folder, list(folder.iterdir())))
        (folder / "built").touch()
        return {"seconds": 0.5 if caches[-1][1] else 3.0}

    monkeypatch.setattr(processes, "_child", child)
    rows = processes.first_use(TINY.changed(rounds=2), quiet)
    assert [(row["variant"], row["median"]) for row in rows] == [
        ("empty cache", 3.0),
        ("kernels built", 0.5),
        ("building", 2.5),
    ]
    assert len({folder for folder, _ in caches}) == 2
    assert not any(folder.exists() for folder, _ in caches)
    assert 0 < processes._measured_first_use(TINY)["seconds"] < 60


def test_a_process_that_fails_is_told_with_its_last_line():
    with pytest.raises(BpstaError, match="KeyError: 'nothing'"):
        processes._child("nothing", TINY)
