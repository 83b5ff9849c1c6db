import numpy as np
import pytest
import torch
from conftest import write_store

from bpsta_cli.errors import DataError, RunError
from bpsta_cli.evaluation import batches, evaluate, so_far
from bpsta_cli.latency import accuracy_over_time, time_per_sample
from bpsta_cli.networks import build

CPU = torch.device("cpu")


@pytest.mark.parametrize("T", [1, 4, 7])
def test_after_all_steps_the_accuracy_is_that_of_the_evaluation(digits, T):
    network = build("4C3-MP2-6C3-AP4-10Voting", digits.shape, 10)
    network.train()(next(batches(digits, digits.split("train"), T, device=CPU))[0])
    found = accuracy_over_time(network, digits, T=T, device=CPU)
    assert list(found["accuracy_at"]) == [str(t) for t in range(1, T + 1)]
    assert found["accuracy_at"][str(T)] == evaluate(network, digits, digits.split("test"), T=T, device=CPU).accuracy
    assert (found["samples"], found["T"]) == (40, T)


def test_votes_that_tie_but_for_rounding_are_decided_alike_by_both(digits):
    network = build("10", digits.shape, 10)
    many = torch.randint(0, 11, (8, 8000, 10)) / 10
    winners = so_far(many)[-1].argmax(1)
    rounded = (many.mean(0).argmax(1) != winners).nonzero()[:40, 0]  # float32 means pick another class here
    close = many[:, rounded] if len(rounded) == 40 else many[:, :40]
    for sample, label in enumerate(digits.split("test").y.tolist()):
        winner = int(so_far(close[:, sample])[-1].argmax())
        close[:, sample, [label, winner]] = close[:, sample, [winner, label]]
    network.votes = lambda x: close
    at = accuracy_over_time(network, digits, T=8, device=CPU)["accuracy_at"]
    assert at["8"] == evaluate(network, digits, digits.split("test"), T=8, device=CPU).accuracy > 0.4


def test_votes_so_far_decide_at_every_step(tmp_path):
    x = np.zeros((3, 1, 1, 2), dtype=np.uint8)
    store = write_store(tmp_path / "store", x, np.array([0, 0, 1]), train=1, classes=2)
    network = build("2", (1, 1, 2), 2)
    steps = [[(1.0, 0), (1, 0)], [(0, 0.5), (0, 0.5)], [(0, 1), (0, 1)], [(1, 0), (0, 0)]]
    network.votes = lambda x: torch.tensor(steps)
    # sums of sample 0: (1, 0) (1, 0.5) (1, 1.5) (2, 1.5), label 0: right right wrong right
    # sums of sample 1: (1, 0) (1, 0.5) (1, 1.5) (1, 1.5), label 1: wrong wrong right right
    found = accuracy_over_time(network, store, T=4, device=CPU)
    assert found["accuracy_at"] == {"1": 0.5, "2": 0.5, "3": 0.5, "4": 1.0}
    first = accuracy_over_time(network_of_first(network, steps), store, T=4, device=CPU, samples=1)
    assert first["accuracy_at"] == {"1": 1.0, "2": 1.0, "3": 0.0, "4": 1.0}


def network_of_first(network, steps):
    network.votes = lambda x: torch.tensor(steps)[:, :1]
    return network


def test_the_twin_has_no_time_steps(digits):
    with pytest.raises(RunError, match="a run without time steps"):
        accuracy_over_time(build("4C3-2Voting", digits.shape, 10, "ann"), digits, T=3, device=CPU)


def test_dropout_plays_no_part_and_progress_is_told(digits):
    network = build("4C3-AP4-8FC-DP-2Voting", digits.shape, 10).train()
    told = []
    first = accuracy_over_time(network, digits, T=2, device=CPU, on_batch=lambda *done: told.append(done))
    assert first == accuracy_over_time(network.train(), digits, T=2, device=CPU)
    assert told == [(40, 40)]


def test_time_is_measured_one_sample_at_a_time_after_the_warm_up(digits, monkeypatch):
    network = build("4C3-AP4-2Voting", digits.shape, 10)
    seen = []
    network.layers.register_forward_hook(lambda _m, inputs, _o: seen.append(tuple(inputs[0].shape)))
    clock = iter(range(1000))
    monkeypatch.setattr("bpsta_cli.latency.time.perf_counter", lambda: next(clock) ** 2 / 1000)
    found = time_per_sample(network, digits, T=3, device=CPU, repeats=5, warm_up=2)
    assert seen == [(3, 1, 1, 8, 8)] * 7
    # decision n runs from n to n + 1 on a clock of squares; without warm-up turns only the start is read there
    milliseconds = [(n + 1) ** 2 - n**2 for n in (2, 4, 6, 8, 10)]
    assert found["p50_ms"] == pytest.approx(milliseconds[2])
    assert found["p95_ms"] == pytest.approx(milliseconds[3] + 0.8 * (milliseconds[4] - milliseconds[3]))
    assert (found["repeats"], found["batch"], found["device"]) == (5, 1, "cpu")


def test_more_decisions_than_samples_take_the_samples_in_turn(tmp_path):
    x = np.arange(4, dtype=np.uint8).reshape(4, 1, 1, 1)
    store = write_store(tmp_path / "store", x, np.zeros(4, dtype=int), train=2, classes=2)
    network = build("2", (1, 1, 1), 2)
    seen = []
    network.layers.register_forward_hook(lambda _m, inputs, _o: seen.append(int(inputs[0][0].item() * 16)))
    time_per_sample(network, store, T=1, device=CPU, repeats=4, warm_up=1)
    assert seen == [2, 3, 2, 3, 2]


def test_an_empty_test_part_is_refused(tmp_path):
    x = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    store = write_store(tmp_path / "store", x, np.zeros(2, dtype=int), train=2, classes=2)
    network = build("2", (1, 1, 1), 2)
    for measure in (accuracy_over_time, time_per_sample):
        with pytest.raises(DataError, match="nothing to evaluate"):
            measure(network, store, T=1, device=CPU)
