"""One step of the neuron at a time, and the shapes that it takes."""

from pathlib import Path

import pytest
import torch
from torch import nn

from bpsta_cli import LIF, build, rules
from bpsta_cli.errors import SettingsError, StructureError

T = 6
LEAKY = str(Path(__file__).parents[2] / "examples" / "leaky_gradient.py")


def looped(neuron, x):
    neuron.reset()
    return torch.stack([neuron(step) for step in x])


@pytest.mark.parametrize("silent", [None, rules.SilentGradient()], ids=["the rule", "silent gradient"])
@pytest.mark.parametrize("rule", ["stbp", "bpsa", "bpsta", LEAKY], ids=["stbp", "bpsa", "bpsta", "own"])
def test_step_by_step_spikes_and_gradients_are_those_of_all_steps_at_once(rule, silent):
    x = torch.randn(T, 4, 9, dtype=torch.float64)
    results = []
    for mode, run in (("m", lambda neuron, x: neuron(x)), ("s", looped)):
        neuron, leaf = LIF(rule, backend="reference", step_mode=mode), x.clone().requires_grad_()
        neuron.silent, neuron.spike_cost = silent, 0.01
        spikes = run(neuron, leaf)
        (spikes * torch.arange(x.numel(), dtype=x.dtype).view_as(x)).sum().backward()
        results.append((spikes.detach(), leaf.grad))
    assert 0 < results[0][0].mean() < 1
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_the_state_is_kept_until_reset():
    neuron = LIF(threshold=1.0, decay=1.0, step_mode="s")
    x = torch.full((1, 2), 0.6)
    assert [neuron(x).sum().item() for _ in range(3)] == [0, 2, 0]
    neuron.reset()
    assert [neuron(x).sum().item() for _ in range(2)] == [0, 2]


def test_detach_keeps_the_potential_and_lets_no_gradient_past():
    neuron = LIF("stbp", decay=1.0, step_mode="s")
    first, second = (torch.full((1, 3), 0.3, requires_grad=True) for _ in range(2))
    neuron(first)
    neuron.detach()
    spikes = neuron(second)
    spikes.sum().backward()
    assert spikes.sum() == 3
    assert second.grad.abs().sum() > 0
    assert first.grad is None


def test_a_network_that_was_built_can_be_run_step_by_step():
    network = build("4C3-MP2-6C3-AP2-10Voting", (1, 8, 8), 10).eval()
    x = torch.rand(T, 3, 1, 8, 8)
    with torch.no_grad():
        whole = network.votes(x)
        for neuron in network.neurons().values():
            neuron.step_mode = "s"
        steps = torch.cat([network.votes(step[None]) for step in x])
    assert torch.equal(whole, steps)


def test_a_batch_of_another_shape_without_a_reset_is_refused():
    neuron = LIF(step_mode="s")
    neuron(torch.rand(4, 3))
    with pytest.raises(StructureError, match=r"expected .*\[4, 3\].*, got \[2, 3\].*reset\(\)"):
        neuron(torch.rand(2, 3))


@pytest.mark.parametrize("shape", [(64, 100), (8,)])
def test_an_input_without_time_or_batch_is_refused_with_the_ways_to_give_both(shape):
    with pytest.raises(StructureError, match=r'expected \[T, B, \.\.\.\], time first.*unsqueeze\(0\).*step_mode="s"'):
        nn.Sequential(nn.Linear(shape[-1], 10), LIF("bpsta"))(torch.rand(shape))


def test_an_unknown_step_mode_is_refused():
    with pytest.raises(SettingsError, match=r'"m".*or "s"'):
        LIF(step_mode="multi")
    assert repr(LIF(step_mode="s")).endswith("step_mode='s')")
