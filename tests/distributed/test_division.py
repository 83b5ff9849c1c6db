"""Which samples of a batch each process computes, and sums over the whole batch that are made of theirs."""

import importlib.util

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rank_processes import CPU, together

from benchmarks import scale_model
from bpsta_cli import kernels, rules
from bpsta_cli.distributed import division
from bpsta_cli.distributed.division import SAMPLE_SHARES, Division, dividing
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.cpu import norm
from bpsta_cli.network import build
from bpsta_cli.network.layers import Conv, Linear

CHOICE = dispatch.choose()


def divided(rank, world, samples, *, ordered=True):
    return Division(Ranks(rank, world, CPU, ordered, 60.0), samples)


@given(st.integers(1, 12), st.integers(1, 300), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_sample_is_computed_by_one_process_and_none_by_two(world, samples, ordered):
    own = []
    for rank in range(world):
        each = divided(rank, world, samples, ordered=ordered)
        if not each.stand_in:
            own += range(samples)[each.computed]
    assert own == list(range(samples))


@given(st.integers(1, 12), st.integers(1, 300))
@settings(max_examples=60, deadline=None)
def test_a_process_computes_whole_shares(world, samples):
    ends = {share * samples // SAMPLE_SHARES for share in range(SAMPLE_SHARES + 1)}
    for rank in range(world):
        assert set(divided(rank, world, samples).bounds(rank)) <= ends
    assert sum(divided(0, world, samples).share_counts()) == SAMPLE_SHARES


def test_what_is_counted_here_is_scaled_to_the_whole_batch_only_while_it_is_divided():
    assert division.whole(10) == 10
    with dividing(divided(0, 3, 9)):
        assert division.whole(6 * 3) == 6 * 9
    assert division.whole(10) == 10


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)
@pytest.mark.parametrize(("samples", "world"), [(13, 2), (5, 3), (1, 2), (30, 5)])
def test_gradients_and_statistics_have_the_bits_of_one_process(tmp_path, samples, world):
    """Samples are divided before time is folded into the batch: each process has all steps of its own."""
    steps, layers = 3, (Conv(3, 5, 3, padding=1), Linear(6, 4))
    x, rows = drawn(steps, samples, 3, 5, 4), drawn(steps, samples, 6, seed=1)
    weights = (drawn(steps, samples, 5, 5, 4, seed=2), drawn(steps, samples, 4, seed=3))

    def gradients(ranks):
        batch = None if ranks is None else Division(ranks, samples)
        here = slice(None) if batch is None else batch.computed
        found = []
        with dividing(batch):
            for layer, values, weight in zip(layers, (x, rows), weights, strict=True):
                layer.zero_grad()
                (layer(values[:, here]) * weight[:, here]).sum().backward()
                if batch is not None:
                    batch.add_gradients()
                found += [parameter.grad.clone() for parameter in layer.parameters()]
            for per_step in (False, True):
                found += norm.statistics(x[:, here], per_step=per_step)
        return [each.numpy().tobytes() for each in found]

    alone = gradients(None)
    assert together(world, gradients, tmp_path) == [alone] * world


@pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)
def test_a_gradient_is_of_the_mean_loss_of_the_whole_batch_whoever_has_how_many_samples(tmp_path):
    """What an average over processes of their own mean losses would get wrong: 7 samples are 3 and 4."""
    from bpsta_cli.distributed.samples import of_all
    from bpsta_cli.network import losses

    torch.manual_seed(0)
    network, x, labels = build("3C3-AP4-2Voting", (1, 4, 4), 3), drawn(2, 7, 1, 4, 4), torch.arange(7) % 3

    def gradient(ranks):
        batch = None if ranks is None else Division(ranks, 7)
        network.train().zero_grad()
        with dividing(batch):
            votes = of_all(network.votes(x if batch is None else x[:, batch.computed]), batch)
            losses.loss("mse", votes, labels).backward()
        if batch is not None:
            assert len(votes[0]) == 7
            batch.add_gradients()
        return [parameter.grad.numpy().tobytes() for parameter in network.parameters()]

    alone = gradient(None)
    assert together(2, gradient, tmp_path) == [alone, alone]


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.parametrize("per_step", [False, True])
def test_a_block_on_a_gpu_has_the_statistics_and_the_gradient_of_the_whole_batch(tmp_path, per_step):
    x, weight, bias, error = (drawn(*shape) for shape in ((2, 7, 4, 4, 4), (4,), (4,), (2, 7, 4, 2, 2)))
    spec = BlockSpec(steps=2, relu=True, pool=2, threshold=0.5, decay=0.9, rule=rules.BPSTA(0.2), eps=1e-5)

    def passed(ranks):
        batch = None if ranks is None else Division(ranks, 7)
        here = slice(None) if batch is None else batch.computed
        leaves = [each.clone().requires_grad_() for each in (x[:, here], weight, bias)]
        with dividing(batch):
            spikes, _, stats = kernels.block(*leaves, spec, per_step=per_step, backend="gpu")
            (spikes * error[:, here]).sum().backward()
        of_all = (*stats, leaves[1].grad, leaves[2].grad)
        return [each.detach().double().numpy() for each in of_all], leaves[0].grad.numpy()

    alone, of_x = passed(None)
    both = together(2, passed, tmp_path, reduction="sums")
    for found, _ in both:
        for one, other in zip(found, alone, strict=True):
            assert one == pytest.approx(other, rel=1e-4, abs=1e-5)
    assert np.concatenate([each for _, each in both], 1) == pytest.approx(of_x, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("world", [2, 3])
def test_the_model_of_the_bytes_that_are_sent_is_what_is_sent(tmp_path, world):
    values = 600

    def sent(ranks):
        shares = [[torch.ones(values) for _ in Division(ranks, 12).shares]]
        total = ranks.add_shares(shares, Division(ranks, 12).share_counts())
        assert total.tolist() == [12.0] * values
        as_shares = ranks.traffic.bytes
        ranks.total(torch.ones(values))
        return as_shares, ranks.traffic.bytes - as_shares

    size = values * scale_model.VALUE_BYTES
    expected = pytest.approx((scale_model.sent_as_shares(size, world), scale_model.sent(size, world)))
    assert together(world, sent, tmp_path) == [expected] * world
