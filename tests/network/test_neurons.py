"""The LIF module: constants and a rule, nothing else."""

import copy

import pytest
import torch

from bpsta_cli import kernels, rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.network.neurons import LIF


def test_the_module_is_the_kernel_with_its_constants():
    torch.manual_seed(0)
    x = torch.randn(5, 4, 3)
    rule = rules.make("stbp", surrogate="sigmoid")
    leaf, same = x.clone().requires_grad_(), x.clone().requires_grad_()
    LIF(rule, threshold=0.3, decay=0.7)(leaf).sum().backward()
    kernels.lif(same, threshold=0.3, decay=0.7, rule=rule).sum().backward()
    assert torch.equal(leaf.grad, same.grad)


def test_a_call_leaves_nothing_behind():
    neuron = LIF(threshold=1.0, decay=1.0)
    x = torch.full((1, 1, 2), 0.6)  # would fire at the second call, were the potential kept
    assert [neuron(x).sum().item() for _ in range(3)] == [0, 0, 0]
    assert not list(neuron.parameters())
    assert not neuron.state_dict()


def test_the_defaults_are_the_papers():
    neuron = LIF()
    assert neuron.rule == rules.BPSTA(alpha=0.2)
    assert (neuron.threshold, neuron.decay) == (0.5, 0.9)


def test_its_repr_says_how_it_works():
    assert repr(LIF("stbp", threshold=1.0)) == (
        "LIF(STBP(surrogate='rectangular', surrogate_width=1.0, detach_reset=False), "
        "threshold=1.0, decay=0.9, backend='auto')"
    )


def test_it_can_be_copied_with_its_network():
    network = torch.nn.Sequential(torch.nn.Linear(3, 2), LIF("bpsa"))
    x = torch.randn(4, 5, 3)
    assert torch.equal(copy.deepcopy(network)(x), network(x))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"rule": "ann"}, "unknown rule"),
        ({"threshold": 0.0}, "unusable threshold"),
        ({"decay": 1.5}, "unusable decay"),
        ({"backend": "cuda"}, "unknown backend"),
    ],
)
def test_unusable_settings_are_told_when_it_is_built(settings, text):
    with pytest.raises(SettingsError, match=text):
        LIF(**settings)
