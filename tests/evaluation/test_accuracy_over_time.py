import numpy as np
import pytest
import torch
from small_stores import write_store

from bpsta_cli.errors import DataError, RunError
from bpsta_cli.evaluation.accuracy import batches, cumulative_votes, evaluate
from bpsta_cli.evaluation.accuracy_over_time import Anytime, at_time_steps, decisions_over_time, margin
from bpsta_cli.network import build

CPU = torch.device("cpu")


def trained(digits, structure="4C3-MP2-6C3-AP4-10Voting", T=4):
    """A network whose running statistics have seen a batch, so that its neurons fire."""
    network = build(structure, digits.shape, 10)
    network.train()(next(batches(digits, digits.split("train"), T, device=CPU))[0])
    return network


@pytest.mark.parametrize("T", [1, 4, 7])
def test_after_all_steps_the_accuracy_is_that_of_the_evaluation(digits, T):
    network = trained(digits, T=T)
    seen = decisions_over_time(network, digits, T=T, device=CPU)
    assert list(seen.accuracy_at()) == [str(t) for t in range(1, T + 1)]
    expected = evaluate(network, digits, digits.split("test"), T=T, device=CPU).accuracy
    assert seen.accuracy_at()[str(T)] == expected
    assert (len(seen), seen.T) == (40, T)


def test_votes_that_tie_but_for_rounding_are_decided_alike_by_both(digits):
    network = build("10", digits.shape, 10)
    many = torch.randint(0, 11, (8, 8000, 10)) / 10
    winners = cumulative_votes(many)[-1].argmax(1)
    rounded = (many.mean(0).argmax(1) != winners).nonzero()[:40, 0]  # float32 means pick another class here
    close = many[:, rounded] if len(rounded) == 40 else many[:, :40]
    for sample, label in enumerate(digits.split("test").y.tolist()):
        winner = int(cumulative_votes(close[:, sample])[-1].argmax())
        close[:, sample, [label, winner]] = close[:, sample, [winner, label]]
    network.votes = lambda x: close
    at = decisions_over_time(network, digits, T=8, device=CPU).accuracy_at()
    assert at["8"] == evaluate(network, digits, digits.split("test"), T=8, device=CPU).accuracy > 0.4


STEPS = [[(1.0, 0), (1, 0)], [(0, 0.5), (0, 0.5)], [(0, 1), (0, 1)], [(1, 0), (0, 0)]]


@pytest.fixture
def two(tmp_path):
    """A store of test labels 0 and 1 and a network that votes as `STEPS` say."""
    x = np.zeros((3, 1, 1, 2), dtype=np.uint8)
    network = build("2", (1, 1, 2), 2)
    network.votes = lambda x: torch.tensor(STEPS)[:, : x.shape[1]]
    return network, write_store(tmp_path / "store", x, np.array([0, 0, 1]), train=1, classes=2)


def test_votes_so_far_decide_at_every_step(two):
    network, store = two
    # sums of sample 0: (1, 0) (1, 0.5) (1, 1.5) (2, 1.5), label 0: right right wrong right
    # sums of sample 1: (1, 0) (1, 0.5) (1, 1.5) (1, 1.5), label 1: wrong wrong right right
    seen = decisions_over_time(network, store, T=4, device=CPU)
    assert seen.accuracy_at() == {"1": 0.5, "2": 0.5, "3": 0.5, "4": 1.0}
    assert seen.predictions.T.tolist() == [[0, 0, 1, 0], [0, 0, 1, 1]]
    # the distance of the sums over the steps taken
    expected = [[1, 0.5 / 2, 0.5 / 3, 0.5 / 4], [1, 0.5 / 2, 0.5 / 3, 0.5 / 4]]
    assert seen.margins.T.tolist() == [pytest.approx(row) for row in expected]
    first = decisions_over_time(network, store, T=4, device=CPU, samples=1)
    assert first.accuracy_at() == {"1": 1.0, "2": 1.0, "3": 0.0, "4": 1.0}


def test_the_margin_lies_between_the_two_highest_means_whatever_the_others_are():
    sums = torch.tensor([[0.5, 2.0, 1.5, 2.0], [3.0, 0.0, 1.0, 2.5]], dtype=torch.float64)
    assert margin(sums, 4).tolist() == [0, 0.125]
    assert margin(sums[1:, :1], 4).tolist() == [0]  # a single class has nothing to be distinguished from


def test_the_batches_of_a_pass_are_put_together_in_order(digits, monkeypatch):
    network = trained(digits)
    whole = decisions_over_time(network, digits, T=3, device=CPU)
    monkeypatch.setattr(batches, "__kwdefaults__", {**batches.__kwdefaults__, "size": 7})
    parts = decisions_over_time(network, digits, T=3, device=CPU)
    assert parts.labels.tolist() == digits.split("test").y.tolist() == whole.labels.tolist()
    assert parts.predictions.equal(whole.predictions)
    assert parts.margins.allclose(whole.margins)
    assert len(decisions_over_time(network, digits, T=3, device=CPU, samples=11)) == 11


def test_another_part_of_the_store_can_be_followed(digits):
    network = trained(digits)
    some = digits.split("train").subset(np.array([5, 2, 9]))
    assert decisions_over_time(network, digits, T=2, device=CPU, split=some).labels.tolist() == some.y.tolist()


def test_the_first_steps_of_a_longer_pass_are_those_of_a_shorter(digits):
    network = trained(digits)
    long, short = (decisions_over_time(network, digits, T=T, device=CPU) for T in (8, 3))
    assert long.shortened(3).predictions.equal(short.predictions)
    assert long.shortened(3).margins.equal(short.margins)
    assert long.shortened(3).T == 3


def test_every_second_sample_is_half_of_them_with_all_that_belongs_to_it():
    seen = Anytime(torch.arange(10).view(2, 5), torch.arange(10.0).view(2, 5), torch.arange(5))
    odd = seen.every_second(1)
    assert (odd.predictions.tolist(), odd.margins.tolist()) == ([[1, 3], [6, 8]], [[1, 3], [6, 8]])
    assert odd.labels.tolist() == [1, 3]
    assert len(seen.every_second(0)) == 3


def pass_of(T):
    """A pass of T steps of two samples of class 0, right at every step but the last of an even T."""
    predictions = torch.zeros(T, 2, dtype=torch.int64)
    predictions[-1, 0] = 1 - T % 2
    return Anytime(predictions, torch.ones(T, 2), torch.zeros(2, dtype=torch.int64))


def test_images_are_run_once_for_the_most_steps_and_recordings_for_each():
    asked = []

    def decisions_at(T):
        asked.append(T)
        return pass_of(T)

    images = at_time_steps(pass_of(3), [6, 2, 6, 4], decisions_at, rebinned=False)
    assert asked == [6]
    assert [(row["T"], row["accuracy"]) for row in images] == [(2, 1.0), (4, 1.0), (6, 0.5)]
    assert list(images[1]["accuracy_at"]) == ["1", "2", "3", "4"]
    recordings = at_time_steps(pass_of(3), [2, 3, 4], decisions_at, rebinned=True)
    assert asked == [6, 2, 4]  # its own is there already
    assert [row["accuracy"] for row in recordings] == [0.5, 1.0, 0.5]
    at_time_steps(pass_of(3), [1, 2, 3], decisions_at, rebinned=False)
    assert asked == [6, 2, 4]


def test_the_twin_has_no_time_steps(digits):
    with pytest.raises(RunError, match="a run without time steps"):
        decisions_over_time(build("4C3-2Voting", digits.shape, 10, "ann"), digits, T=3, device=CPU)


def test_dropout_plays_no_part_and_progress_is_reported(digits):
    network = build("4C3-AP4-8FC-DP-2Voting", digits.shape, 10).train()
    progress = []
    first = decisions_over_time(network, digits, T=2, device=CPU, on_batch=lambda *done: progress.append(done))
    again = decisions_over_time(network.train(), digits, T=2, device=CPU)
    assert first.predictions.equal(again.predictions)
    assert first.margins.equal(again.margins)
    assert progress == [(40, 40)]


def test_an_empty_test_part_is_refused(tmp_path):
    x = np.zeros((2, 1, 1, 1), dtype=np.uint8)
    store = write_store(tmp_path / "store", x, np.zeros(2, dtype=int), train=2, classes=2)
    with pytest.raises(DataError, match="nothing to evaluate"):
        decisions_over_time(build("2", (1, 1, 1), 2), store, T=1, device=CPU)
