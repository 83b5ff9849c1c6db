"""CONTRIBUTING's recipe of an export, done once: a format that is NumPy's arrays and a few lines that run them."""

import numpy as np
import torch

from bpsta_cli.export.agreement import Agreement
from bpsta_cli.export.plan import INPUT, Connect, Fire, Flat, Vote, plan
from bpsta_cli.network import build


def votes_of(network_plan, frames):
    """What a plan of linear layers votes at each step: [T, B, C, H, W] -> [T, B, classes]."""
    potentials, votes = dict.fromkeys(network_plan.neurons, 0), []
    for frame in frames:
        values = {INPUT: frame}
        for name, step in network_plan.steps.items():
            x, operation = values[step.sources[0]], step.operation
            if isinstance(operation, Flat):
                values[name] = x.reshape(len(x), -1)
            elif isinstance(operation, Connect):
                values[name] = x @ operation.weight.T + operation.bias
            elif isinstance(operation, Fire):
                u = operation.decay * potentials[name] + x
                values[name] = (u >= operation.threshold) * 1.0
                potentials[name] = u * (1 - values[name])
            elif isinstance(operation, Vote):
                values[name] = x.reshape(len(x), operation.classes, operation.voters).mean(2)
            else:
                values[name] = np.maximum(x, 0)
        votes.append(values[network_plan.last.name])
    return torch.from_numpy(np.stack(votes)).float()


def test_a_format_is_written_from_the_plan_and_compared_with_the_network():
    network = build("64-20-2Voting", (1, 8, 8), classes=3).eval()
    network.layers.linear1.weight.data *= 4
    network.layers.linear2.weight.data *= 4
    x, labels = torch.rand(4, 10, 1, 8, 8), torch.zeros(10, dtype=torch.int64)
    with torch.no_grad():
        here = network.votes(x)
    counts = Agreement()
    counts.add(here, votes_of(plan(network, (1, 8, 8)), x.double().numpy()), labels)
    assert 0 < here.mean() < 1
    assert (counts.samples, counts.differing_decisions, counts.differing_votes) == (10, 0, 0)
    counts.add(here, 1 - here, labels)
    assert counts.record()["differing_votes"] > 0
