import math

import pytest
import torch

from bpsta_cli.errors import SettingsError
from bpsta_cli.network.losses import loss

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


def test_an_unknown_loss_is_refused():
    with pytest.raises(SettingsError, match="mse, cross-entropy or tet, got 'mae'"):
        loss("mae", VOTES, LABELS)
