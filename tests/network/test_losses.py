import math

import pytest
import torch
import torch.nn.functional as F

from bpsta_cli.errors import SettingsError
from bpsta_cli.network.losses import Rates, loss

# two steps, two samples, two classes; mean votes [[0.75, 0.25], [0.5, 0.5]]
VOTES = torch.tensor([[[1.0, 0.5], [0.0, 1.0]], [[0.5, 0.0], [1.0, 0.0]]], dtype=torch.float64)
LABELS = torch.tensor([0, 1])


def entropy(margin):
    """Cross-entropy of two classes whose score differs by `margin` in favour of the right one."""
    return math.log(1 + math.exp(-margin))


def test_mse_is_the_mean_square_distance_of_the_mean_vote_from_one_hot():
    by_hand = (0.25**2 + 0.25**2 + 0.5**2 + 0.5**2) / 4
    assert loss("mse", VOTES, LABELS).item() == pytest.approx(by_hand) == pytest.approx(0.15625)


def test_cross_entropy_is_that_of_the_mean_vote():
    assert loss("cross-entropy", VOTES, LABELS).item() == pytest.approx((entropy(0.5) + entropy(0)) / 2)


def test_tet_is_the_mean_of_the_entropy_of_each_step():
    by_hand = (entropy(0.5) + entropy(1) + entropy(0.5) + entropy(-1)) / 4
    assert loss("tet", VOTES, LABELS).item() == pytest.approx(by_hand)


def test_smoothing_spreads_its_share_over_all_classes():
    targets = (0.9, 0.1)  # 0.2 of each target spread over two classes
    mse = ((0.75 - targets[0]) ** 2 + (0.25 - targets[1]) ** 2 + 0.4**2 + 0.4**2) / 4
    assert loss("mse", VOTES, LABELS, label_smoothing=0.2).item() == pytest.approx(mse)
    entropies = 0.9 * entropy(0.5) + 0.1 * entropy(-0.5) + math.log(2)
    assert loss("cross-entropy", VOTES, LABELS, label_smoothing=0.2).item() == pytest.approx(entropies / 2)
    steps = ((0.5, 2), (1, 1), (-1, 1))
    tet = sum(count * (0.9 * entropy(m) + 0.1 * entropy(-m)) for m, count in steps) / 4
    assert loss("tet", VOTES, LABELS, label_smoothing=0.2).item() == pytest.approx(tet)


def test_at_one_step_tet_is_cross_entropy():
    assert loss("tet", VOTES[:1], LABELS).item() == pytest.approx(loss("cross-entropy", VOTES[:1], LABELS).item())


def test_mse_sends_back_twice_the_distance_over_steps_classes_and_samples():
    votes = VOTES.clone().requires_grad_()
    loss("mse", votes, LABELS).backward()
    by_hand = 2 * (VOTES.mean(0) - torch.eye(2, dtype=torch.float64)) / (2 * 2 * 2)
    torch.testing.assert_close(votes.grad, by_hand.expand(2, 2, 2))


def test_one_sided_is_the_mean_square_of_what_votes_lack_or_have_too_much():
    right_lacks, wrong_exceed = (0.9 - 0.75, 0.9 - 0.5), (0.25 - 0.05, 0.5 - 0.05)
    by_hand = sum(each**2 for each in (*right_lacks, *wrong_exceed)) / 4
    assert loss("one-sided", VOTES, LABELS).item() == pytest.approx(by_hand)
    chosen = Rates(right=0.6, wrong=0.4)  # the first sample has what is asked of it
    assert loss("one-sided", VOTES, LABELS, rates=chosen).item() == pytest.approx((0.1**2 + 0.1**2) / 4)


def test_one_sided_sends_nothing_back_where_a_vote_is_allowed():
    votes = VOTES.clone().requires_grad_()
    loss("one-sided", votes, LABELS, rates=Rates(right=0.6, wrong=0.4)).backward()
    by_hand = torch.tensor([[0.0, 0.0], [2 * 0.1, -2 * 0.1]], dtype=torch.float64) / (4 * 2)
    torch.testing.assert_close(votes.grad, by_hand.expand(2, 2, 2))


def test_an_unknown_loss_is_refused():
    with pytest.raises(SettingsError, match="mse, cross-entropy, tet or one-sided, got 'mae'"):
        loss("mae", VOTES, LABELS)


NAMES = ("mse", "cross-entropy", "tet", "one-sided")


def random_votes(dtype=torch.float64):
    votes = torch.rand(5, 7, 10, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (3 * votes).to(dtype).requires_grad_(), torch.arange(7) * 3 % 10


def torchs(name, votes, labels, smoothing):
    if name == "mse":
        target = F.one_hot(labels, 10).to(votes.dtype) * (1 - smoothing) + smoothing / 10
        return F.mse_loss(votes.mean(0), target)
    if name == "one-sided":
        mean, right = votes.mean(0), F.one_hot(labels, 10).bool()
        return torch.where(right, (0.9 - mean).relu(), (mean - 0.05).relu()).square().mean()
    if name == "tet":
        votes, labels = votes.flatten(0, 1)[None], labels.repeat(len(votes))
    return F.cross_entropy(votes.mean(0), labels, label_smoothing=smoothing)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_values_and_gradients_are_torchs(name, smoothing):
    votes, labels = random_votes()
    found, expected = loss(name, votes, labels, label_smoothing=smoothing), torchs(name, votes, labels, smoothing)
    torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)
    gradients = (torch.autograd.grad(3 * value, votes)[0] for value in (found, expected))
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name):
    votes, labels = random_votes()
    assert torch.autograd.gradcheck(lambda x: loss(name, x, labels, label_smoothing=0.1), votes)


@pytest.mark.parametrize("name", NAMES)
def test_a_loss_of_float32_is_that_of_float64_to_its_rounding(name):
    (narrow, labels), (wide, _) = random_votes(torch.float32), random_votes()
    found = loss(name, narrow, labels)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(loss(name, wide, labels).item(), rel=1e-6)
    (gradient,), (expected,) = (torch.autograd.grad(loss(name, x, labels), x) for x in (narrow, wide))
    assert gradient.dtype == torch.float32
    torch.testing.assert_close(gradient.double(), expected, rtol=1e-5, atol=1e-8)


def test_scores_far_apart_neither_overflow_nor_vanish():
    scores = torch.tensor([[[1000.0, -1000.0]]], dtype=torch.float64)
    assert loss("cross-entropy", scores, torch.tensor([1])).item() == 2000
    assert loss("cross-entropy", scores, torch.tensor([0])).item() == 0
