"""Units without gradient stay where they are, with their moments; all others move as without the setting."""

import pytest
import torch

from bpsta_cli.config import TrainingSettings
from bpsta_cli.network import build
from bpsta_cli.training import idle_units, optimisers
from bpsta_cli.training.adamw import AdamW

SHAPES = [(5,), (5, 7), (5, 3, 3, 3)]
OPTIONS = {"lr": 0.03, "weight_decay": 0.1}
IDLE = torch.tensor([False, True, False, False, True])


def trained(make, *, keep, threads=1):
    """Parameters, and their moments, after three steps with gradients, and two in which the units `IDLE` have none."""
    random = torch.Generator().manual_seed(1)
    own = [torch.nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]
    own[2] = torch.nn.Parameter(own[2].detach().to(memory_format=torch.channels_last))
    optimiser = make([{"params": own}], **OPTIONS)
    if keep:
        idle_units.keep(optimiser)
    was = torch.get_num_threads()
    torch.set_num_threads(threads)
    seen = []
    for step in range(5):
        for parameter in own:
            parameter.grad = torch.randn(parameter.shape, generator=random)
            if step >= 3:
                parameter.grad[IDLE] = 0
        optimiser.step()
        state = [[optimiser.state[each][name].clone() for name in ("exp_avg", "exp_avg_sq")] for each in own]
        seen.append([(each.detach().clone(), *moments) for each, moments in zip(own, state, strict=True)])
    torch.set_num_threads(was)
    return seen


@pytest.mark.parametrize("make", [AdamW, torch.optim.AdamW])
def test_an_idle_unit_neither_moves_nor_decays_and_others_move_as_ever(make):
    kept, plain = (trained(make, keep=keep) for keep in (True, False))
    assert all(map(torch.equal, sum(kept[2], ()), sum(plain[2], ())))
    for step in (3, 4):
        for before, after, ever in zip(kept[2], kept[step], plain[step], strict=True):
            for one, other, third in zip(before, after, ever, strict=True):
                assert one[IDLE].equal(other[IDLE])
                assert other[~IDLE].equal(third[~IDLE])
            assert not after[0][IDLE].equal(ever[0][IDLE])


def test_the_bits_do_not_depend_on_the_number_of_threads():
    one, three = (sum(trained(AdamW, keep=True, threads=count)[-1], ()) for count in (1, 3))
    assert all(map(torch.equal, one, three))


def test_a_unit_that_is_idle_from_the_first_step_on_has_no_moments():
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    optimiser = AdamW([{"params": [parameter]}], **OPTIONS)
    idle_units.keep(optimiser)
    parameter.grad = torch.tensor([[0.0] * 3, [1.0] * 3])
    optimiser.step()
    assert parameter[0].equal(torch.ones(3))
    assert not optimiser.state[parameter]["exp_avg"][0].any()
    assert optimiser.state[parameter]["exp_avg"][1].all()


@pytest.mark.parametrize("idle_momentum", [True, False])
def test_the_setting_decides(idle_momentum):
    network = build("6C3-MP2-2Voting", (1, 8, 8), 3)
    optimiser = optimisers.make(network, TrainingSettings(idle_momentum=idle_momentum, weight_decay=0.1))
    before = [parameter.detach().clone() for parameter in network.parameters()]
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    assert all(map(torch.equal, network.parameters(), before)) is not idle_momentum
