import pytest
import torch
from torch import nn

from bpsta_cli.errors import SettingsError
from bpsta_cli.network.norms import FoldedNorm, NoNorm, PerStepNorm, ThresholdNorm, make_norm

T, B, C, H, W = 5, 2, 3, 2, 2


@pytest.fixture(params=["changing", "constant"])
def x(request):
    if request.param == "changing":
        return torch.randn(T, B, C, H, W) * torch.arange(1, T + 1).view(T, 1, 1, 1, 1) + 0.5
    return (3 * torch.randn(B, C, H, W) + 0.5).expand(T, B, C, H, W)


def pair(norm):
    """`norm` and torch's own, with the same scale and shift that are not 1 and 0."""
    plain = nn.BatchNorm2d(C)
    nn.init.uniform_(plain.weight)
    nn.init.uniform_(plain.bias)
    norm.load_state_dict(plain.state_dict())
    return norm, plain


def assert_same_statistics(norm, plain):
    torch.testing.assert_close(norm.running_mean, plain.running_mean)
    torch.testing.assert_close(norm.running_var, plain.running_var)


def test_per_step_is_torchs_batch_norm_called_once_a_step(x):
    norm, plain = pair(PerStepNorm(C))
    for _ in range(2):
        torch.testing.assert_close(norm(x), torch.stack([plain(step) for step in x]))
        assert_same_statistics(norm, plain)


def test_folded_is_torchs_batch_norm_on_all_steps_at_once(x):
    norm, plain = pair(FoldedNorm(C))
    for _ in range(2):
        torch.testing.assert_close(norm(x), plain(x.flatten(0, 1)).view_as(x))
        assert_same_statistics(norm, plain)


def test_tdbn_is_folded_with_its_scale_times_the_threshold(x):
    norm, plain = pair(ThresholdNorm(C, 0.4))
    y = norm(x)
    with torch.no_grad():
        plain.weight.mul_(0.4)
    torch.testing.assert_close(y, plain(x.flatten(0, 1)).view_as(x))
    assert_same_statistics(norm, plain)


@pytest.mark.parametrize("kind", ["per-step", "folded", "tdbn"])
def test_in_evaluation_all_use_the_running_statistics(x, kind):
    norm, plain = pair(make_norm(kind, C, threshold=1.0))
    norm(x)
    plain.load_state_dict(norm.state_dict())
    norm.eval()
    plain.eval()
    before = norm.running_var.clone()
    torch.testing.assert_close(norm(x), plain(x.flatten(0, 1)).view_as(x))
    assert norm.running_var.equal(before)


def test_the_running_variance_is_unbiased_over_all_steps():
    norm = FoldedNorm(1)
    image = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)  # mean 1, square distances 1 and 1
    norm(image.expand(3, 2, 1, 1, 1))  # six values: variance 6 / 5
    assert norm.running_mean.item() == pytest.approx(0.1)
    assert norm.running_var.item() == pytest.approx(0.9 + 0.1 * 6 / 5)


def test_per_step_updates_the_running_statistics_once_a_step():
    norm = PerStepNorm(1)
    image = torch.tensor([0.0, 2.0]).view(2, 1, 1, 1)
    norm(image.expand(3, 2, 1, 1, 1))  # two values a step: variance 2, three times
    assert norm.running_mean.item() == pytest.approx(1 - 0.9**3)
    assert norm.running_var.item() == pytest.approx(0.9**3 + (1 - 0.9**3) * 2)


def test_steps_of_unlike_size_become_alike_under_per_step_alone():
    x = torch.randn(2, 8, 1, 4, 4) * torch.tensor([1.0, 10.0]).view(2, 1, 1, 1, 1)
    assert PerStepNorm(1)(x).std((1, 2, 3, 4)).tolist() == pytest.approx([1, 1], abs=0.01)
    small, large = FoldedNorm(1)(x).std((1, 2, 3, 4)).tolist()
    assert large > 5 * small


def test_names_choose_and_unknown_ones_are_refused():
    kinds = {name: type(make_norm(name, 2, threshold=0.3)) for name in ("per-step", "folded", "tdbn", "none")}
    assert kinds == {"per-step": PerStepNorm, "folded": FoldedNorm, "tdbn": ThresholdNorm, "none": NoNorm}
    assert make_norm("tdbn", 2, threshold=0.3).threshold == 0.3
    with pytest.raises(SettingsError, match="got 'batch'"):
        make_norm("batch", 2, threshold=0.3)
