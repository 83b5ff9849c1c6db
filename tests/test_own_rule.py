"""The example of docs/own-rule.md: loaded by its path, checked and trained with."""

from pathlib import Path

import pytest
import torch

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import lif
from bpsta_cli.network import build
from bpsta_cli.network.neurons import LIF

EXAMPLE = Path(__file__).parents[1] / "examples" / "leaky_gradient.py"
DOC = Path(__file__).parents[1] / "docs" / "own-rule.md"


def test_the_example_is_loaded_by_its_path():
    rule = rules.make(str(EXAMPLE))
    assert rule.name == "leaky-gradient"
    assert rules.make("leaky-gradient") == rule


def test_the_examples_leak_is_a_setting_with_limits():
    assert rules.make(str(EXAMPLE), leak=0.3).leak == 0.3
    assert rules.make(str(EXAMPLE)).leak == 0.1
    with pytest.raises(
        SettingsError, match=r"unusable leak: expected a finite number >= 0, got -1.0. The default is 0\.1"
    ):
        rules.make(str(EXAMPLE), leak=-1.0)


def test_a_network_takes_the_example_by_its_path_with_a_leak_or_made():
    rule = rules.make(str(EXAMPLE), leak=0.2)
    by_path = build("4C3-AP8-10Voting", (1, 8, 8), 10, method=str(EXAMPLE), leak=0.2)
    made = build("4C3-AP8-10Voting", (1, 8, 8), 10, method=rule)
    for network in (by_path, made):
        assert {neuron.rule for neuron in network.neurons().values()} == {rule}


def test_the_documented_listing_is_the_examples_code():
    code = EXAMPLE.read_text()
    assert code[code.index("@rules.register") :] in DOC.read_text()


def test_the_example_equals_finite_differences_with_its_slope_frozen():
    # o = o* + slope (u - u*), slope = 1/u* where it fired and 0.1 elsewhere; v = u (1 - o*).
    torch.manual_seed(1)
    x, weights = torch.randn(5, 6, dtype=torch.float64), torch.randn(5, 6, dtype=torch.float64)

    def loss(x, at=None):
        v, total, seen = torch.zeros(6, dtype=torch.float64), 0.0, []
        for t, x_t in enumerate(x):
            u = 0.9 * v + x_t
            u_star = u if at is None else at[t]
            o_star = (u_star >= 0.5).double()
            slope = torch.where(u_star >= 0.5, 1 / u_star, 0.1)
            v = u * (1 - o_star)
            total += ((o_star + slope * (u - u_star)) * weights[t]).sum().item()
            seen.append(u_star)
        return total, seen

    _, at = loss(x)
    numeric = torch.empty_like(x)
    for index in range(x.numel()):
        shift = torch.zeros_like(x)
        shift.view(-1)[index] = 1e-6
        numeric.view(-1)[index] = (loss(x + shift, at)[0] - loss(x - shift, at)[0]) / 2e-6
    leaf = x.clone().requires_grad_()
    (lif(leaf, rule=str(EXAMPLE)) * weights).sum().backward()
    torch.testing.assert_close(leaf.grad, numeric, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("rule", "learns"), [(str(EXAMPLE), True), ("bpsa", False)])
def test_silent_neurons_learn_with_the_example_and_not_with_bpsa(rule, learns):
    # The neuron starts silent (weights 0, so a potential of 0); it is to fire where the first input is large.
    torch.manual_seed(0)
    inputs = torch.rand(64, 2).expand(4, 64, 2)
    target = inputs[0, :, :1].round()
    layer = torch.nn.Linear(2, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    network = torch.nn.Sequential(layer, LIF(rule))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.5)
    losses = []
    for _ in range(60):
        loss = (network(inputs).mean(0) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert (losses[-1] < 0.5 * losses[0]) == learns
