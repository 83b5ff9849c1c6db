import pytest
import torch

from bpsta_cli.errors import SettingsError
from bpsta_cli.evaluation import early_exit
from bpsta_cli.evaluation.accuracy import cumulative_votes
from bpsta_cli.evaluation.accuracy_over_time import Anytime, margin


def passes(rows, labels=None):
    """An Anytime from rows of one sample each: a string of r (right) and w (wrong), and its margins."""
    right = torch.tensor([[letter == "r" for letter in word] for word, _ in rows]).T
    return Anytime(
        predictions=1 - right.long(),
        margins=torch.tensor([values for _, values in rows], dtype=torch.float64).T,
        labels=torch.zeros(len(rows), dtype=torch.int64),
    )


THREE = passes([("wrr", (0.2, 0.5, 0.6)), ("rww", (0.7, 0.1, 0.3)), ("www", (0.0, 0.4, 0.9))])


@pytest.mark.parametrize(
    ("confidence", "steps", "right"),
    [
        (0.0, [1, 1, 1], 1),
        (0.2, [1, 1, 2], 1),
        (0.45, [2, 1, 3], 2),
        (0.75, [3, 3, 3], 1),
        (1.0, [3, 3, 3], 1),
        (None, [3, 3, 3], 1),
    ],
)
def test_a_sample_is_decided_at_the_first_step_whose_margin_is_wide_enough(confidence, steps, right):
    assert early_exit.exit_steps(THREE, confidence).tolist() == steps
    found = early_exit.with_exit(THREE, confidence)
    assert found == {
        "confidence": confidence,
        "mean_steps": pytest.approx(sum(steps) / 3),
        "accuracy": pytest.approx(right / 3),
    }


@pytest.mark.parametrize("ahead", range(1, 11))
def test_a_margin_of_tenths_reaches_the_threshold_of_the_same_name_whatever_float32_makes_of_it(ahead):
    votes = torch.zeros(1, 10, 2)
    for behind in range(11 - ahead):  # (behind + ahead) of ten voters against `behind`
        votes[0, behind] = torch.tensor([behind + ahead, behind]) / 10
    found = margin(cumulative_votes(votes)[0, : 11 - ahead], 1)
    assert early_exit.decided(found, ahead / 10).all()
    assert not early_exit.decided(found, ahead / 10 + 0.01).any()


def test_the_curve_goes_from_one_step_to_all_of_them():
    curve = early_exit.curve(THREE)
    assert [row["confidence"] for row in curve[:3]] == [0, 0.02, 0.04]
    assert (curve[0]["mean_steps"], curve[-1]["mean_steps"], curve[-1]["confidence"]) == (1, 3, 1)
    steps = [row["mean_steps"] for row in curve]
    assert steps == sorted(steps)
    assert len(curve) == 51


def test_the_threshold_is_the_lowest_from_which_on_none_loses_more():
    # right at the end: both. Sample 0 is wrong when it leaves at step 1 (threshold up to 0.3);
    # sample 1 is wrong when it leaves at step 2 (above 0.1, up to 0.6)
    decisions = passes([("wrr", (0.3, 0.9, 1.0)), ("rwr", (0.1, 0.6, 1.0))])
    assert early_exit.with_exit(decisions, 0.05)["accuracy"] == 0.5
    assert early_exit.choose_threshold(decisions, 0.001) == 0.62
    assert (
        early_exit.choose_threshold(decisions, 0.5) == 0.32
    )  # both are wrong at 0.2, one at 0.05: no better than luck
    assert early_exit.choose_threshold(decisions, 1.0) == 0


def test_no_threshold_is_chosen_where_even_unanimous_votes_mislead():
    decisions = passes([("wr", (1.0, 0.5))])
    assert early_exit.choose_threshold(decisions, 0.01) is None
    found = early_exit.select_and_test(decisions, decisions, 0.01)
    assert (found["confidence"], found["mean_steps"], found["loss"]) == (None, 2, 0)


def test_a_threshold_is_tested_on_samples_that_did_not_choose_it():
    selection_set = passes([("wrr", (0.4, 0.9, 1.0))])  # says 0.42
    test_set = passes([("wwr", (0.1, 0.5, 0.6)), ("rrr", (0.8, 0.8, 0.8))])
    found = early_exit.select_and_test(selection_set, test_set, 0.001)
    assert found == {
        "tolerance": 0.001,
        "confidence": 0.42,
        "mean_steps": 1.5,
        "accuracy": 0.5,
        "full_accuracy": 1.0,
        "loss": 0.5,
        "samples": 2,
    }


def test_without_a_held_out_part_every_second_test_sample_chooses_and_the_others_judge():
    selection_set, test_set = ("wrr", (0.4, 0.9, 1.0)), ("rww", (0.5, 0.9, 0.9))
    found = early_exit.summary(passes([selection_set, test_set, selection_set]), None)
    assert found["chosen_on"] == "every second test sample"
    assert [row["tolerance"] for row in found["chosen"]] == [0.001, 0.01]
    assert (found["chosen"][0]["confidence"], found["chosen"][0]["samples"]) == (0.42, 1)
    assert (found["chosen"][0]["mean_steps"], found["chosen"][0]["loss"]) == (1, -1)
    assert len(found["curve"]) == 51


def test_with_a_held_out_part_it_chooses_and_all_test_samples_judge():
    found = early_exit.summary(THREE, passes([("wrr", (0.4, 0.9, 1.0))]))
    assert "held-out part of the training samples" in found["chosen_on"]
    assert (found["chosen"][0]["confidence"], found["chosen"][0]["samples"]) == (0.42, 3)


def test_a_single_test_sample_can_choose_nothing():
    assert early_exit.summary(passes([("wrr", (0.4, 0.9, 1.0))]), None)["chosen"] == []


@pytest.mark.parametrize("confidence", [-0.1, 1.01, float("nan")])
def test_a_threshold_outside_of_0_to_1_is_refused(confidence):
    with pytest.raises(SettingsError, match="unusable threshold of early exit"):
        early_exit.check_confidence(confidence)
    early_exit.check_confidence(0)
    early_exit.check_confidence(1)
