import numpy as np
import pytest
import torch
from small_stores import write_store

from bpsta_cli import kernels
from bpsta_cli.errors import DataError, RunError, SettingsError
from bpsta_cli.evaluation import timing
from bpsta_cli.kernels import dispatch
from bpsta_cli.network import build

CPU = torch.device("cpu")
NETWORK = build("2", (1, 1, 1), 2)  # the subjects of `recorded` run in its place


@pytest.fixture
def recorded(monkeypatch):
    """Subjects that only record what they are given, on a clock of which each reading is later by 1 s, 2 s, 3 s, ..."""
    calls = []

    def subjects(network, confidence):
        names = ["spiking", "twin"] + ([] if confidence is None else ["early_exit"])
        return {
            name: lambda x, name=name: calls.append((name, tuple(x.shape), x[0].flatten(1)[:, 0])) for name in names
        }

    ticks = iter(range(10**6))
    monkeypatch.setattr(timing, "_subjects", subjects)
    monkeypatch.setattr(timing.time, "perf_counter", lambda: (n := next(ticks)) * (n + 1) / 2)
    return calls


@pytest.fixture
def numbered(tmp_path):
    """Two training and seven test images of one pixel, which is their number."""
    x = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)
    return write_store(tmp_path / "store", x, np.zeros(9, dtype=int), train=2, classes=2)


def test_subjects_take_turns_on_the_same_samples_and_each_begins_in_its_turn(recorded, numbered):
    timing.measure_latency(NETWORK, numbered, T=3, device=CPU, confidence=0.5, batch=4, repeats=1)
    turns = [recorded[at : at + 3] for at in range(0, len(recorded), 3)]
    assert [turn[0][0] for turn in turns[:4]] == ["spiking", "twin", "early_exit", "spiking"]
    assert all({name for name, _, _ in turn} == {"spiking", "twin", "early_exit"} for turn in turns)
    assert all(turn[0][2].equal(turn[1][2]) for turn in turns)
    singles, many = turns[: timing.WARM_UP + 1], turns[timing.WARM_UP + 1 :]
    assert {turn[0][1] for turn in singles} == {(3, 1, 1, 1, 1)}
    assert [int(turn[0][2].item() * 16) for turn in singles[:9]] == [2, 3, 4, 5, 6, 7, 8, 2, 3]
    assert {turn[0][1] for turn in many} == {(3, 4, 1, 1, 1)}
    assert len(many) == timing.BATCH_WARM_UP + timing.BATCH_TURNS


def test_times_are_those_after_the_warm_up_and_ratios_are_of_the_same_turn(recorded, numbered):
    progress = []
    found = timing.measure_latency(
        NETWORK, numbered, T=1, device=CPU, batch=2, repeats=3, on_turn=lambda *done: progress.append(done)
    )
    # timing n of all reads the clock at ticks 2n and 2n + 1, which lie 2n + 1 seconds apart
    first = 2 * timing.WARM_UP
    took = [2 * n + 1 for n in range(first, first + 6)]  # turns begin with spiking, twin, spiking
    spiking, twin = [took[0], took[3], took[4]], [took[1], took[2], took[5]]
    decision = found["decision"]
    assert decision["spiking"]["all_ms"] == [1000 * second for second in spiking]
    assert decision["twin"]["p50_ms"] == 1000 * sorted(twin)[1]
    assert decision["spiking"]["p95_ms"] == pytest.approx(1000 * (spiking[1] + 0.9 * (spiking[2] - spiking[1])))
    assert decision["spiking"]["p99_ms"] == pytest.approx(1000 * (spiking[1] + 0.98 * (spiking[2] - spiking[1])))
    expected = sorted(a / b for a, b in zip(spiking, twin, strict=True))[1]
    assert decision["spiking_over"] == {"twin": pytest.approx(expected)}
    assert (decision["batch"], decision["repeats"], found["T"], found["threads"]) == (1, 3, 1, 1)
    assert found["device"].startswith("cpu (")
    total = timing.WARM_UP + 3 + timing.BATCH_WARM_UP + timing.BATCH_TURNS
    assert progress == [(turn, total) for turn in range(1, total + 1)]


def test_throughput_is_of_the_batch_that_the_test_part_has(recorded, numbered):
    found = timing.measure_latency(NETWORK, numbered, T=1, device=CPU, batch=256, repeats=1)["throughput"]
    assert (found["batch"], found["repeats"]) == (7, timing.BATCH_TURNS)
    before = 2 * (timing.WARM_UP + 1) + 2 * timing.BATCH_WARM_UP  # timings before the first batch that counts
    turns = [(before + 2 * turn, before + 2 * turn + 1) for turn in range(timing.BATCH_TURNS)]
    # the batches' turns of an even number begin with spiking
    spiking = [pair[(timing.BATCH_WARM_UP + turn) % 2] for turn, pair in enumerate(turns)]
    middle = sorted(2 * n + 1 for n in spiking)[timing.BATCH_TURNS // 2]
    assert found["spiking"]["samples_per_second"] == pytest.approx(7 / middle)


def test_the_real_subjects_are_the_network_its_twin_and_early_exit(digits):
    network = build("4C3-AP4-2Voting", digits.shape, 10)
    ran = []
    network.layers.conv1.register_forward_hook(lambda layer, inputs, _o: ran.append(tuple(inputs[0].shape[:2])))
    found = timing.measure_latency(network, digits, T=3, device=CPU, confidence=0.0, batch=5, repeats=1)
    assert {"spiking", "twin", "early_exit"} <= set(found["decision"])
    assert set(found["decision"]["spiking_over"]) == {"twin", "early_exit"}
    # hooks are copied with the layers: the twin sees an image once, and early exit decides after one step
    turns = timing.WARM_UP + 1
    assert ran.count((3, 1)) == turns
    assert ran.count((1, 1)) == 2 * turns
    assert network.spiking
    assert all(value > 0 for value in found["decision"]["spiking"]["all_ms"])
    assert "early_exit" not in timing.measure_latency(network, digits, T=3, device=CPU, batch=5, repeats=1)["decision"]


def test_the_result_says_which_convolutions_were_sparse_and_the_twins_are_not(digits, monkeypatch):
    network = build("4C3-MP2-5C3-AP4-2Voting", digits.shape, 10)
    found = timing.measure_latency(network, digits, T=3, device=CPU, batch=5, repeats=1)
    assert (found["convolution"], found["sparse_shares"]) == ("auto", {"conv1": 0, "conv2": 0})  # of little work
    network.convolution = "sparse"
    asked, real = [], kernels.conv

    def conv(layer, x, **options):
        asked.append((layer, options["convolution"]))
        return real(layer, x, **options)

    monkeypatch.setattr(kernels, "conv", conv)
    found = timing.measure_latency(network, digits, T=3, device=CPU, batch=5, repeats=1)
    fused = dispatch.choose().name == "cpu"
    assert (found["convolution"], found["sparse_shares"]) == ("sparse", {"conv1": 0, "conv2": int(fused)})
    assert {layer for layer, how in asked if how == "sparse"} == set(network.convolutions().values())


def test_what_cannot_be_timed_is_refused(digits, tmp_path):
    network = build("4C3-AP4-2Voting", digits.shape, 10)
    for options, message in (
        ({"repeats": 0}, "--repeats of at least 1"),
        ({"batch": 0}, "--batch of at least 1"),
        ({"confidence": 2.0}, "got 2"),
    ):
        with pytest.raises(SettingsError, match=message):
            timing.measure_latency(network, digits, T=2, device=CPU, **options)
    with pytest.raises(RunError, match="a run without time steps"):
        timing.measure_latency(build("4C3-AP4-2Voting", digits.shape, 10, "ann"), digits, T=2, device=CPU)
    x = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    empty = write_store(tmp_path / "store", x, np.zeros(2, dtype=int), train=2, classes=2)
    with pytest.raises(DataError, match="nothing to evaluate"):
        timing.measure_latency(build("2", (1, 1, 1), 2), empty, T=1, device=CPU)
