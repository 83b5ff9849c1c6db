"""What a block is, made of torch's batch norm, ReLU and max pooling around the reference neuron."""

import itertools

import torch
import torch.nn.functional as F

from bpsta_cli import kernels, rules, surrogates
from bpsta_cli.kernels.block_spec import BlockSpec, Statistics

EPS = 1e-5
RULES = [
    rules.BPSA(),
    rules.BPSTA(alpha=0.3),
    *(rules.STBP(curve, 0.7, detach) for curve, detach in itertools.product(surrogates.SURROGATES, (False, True))),
]


def plain(x, weight, bias, block, *, per_step, running=None):
    """Spikes after pooling, and how many before it, from torch's own operations and the reference neuron."""
    x = x.expand(block.steps, *x.shape[1:])

    def norm(y):
        mean, var = running or (None, None)
        return F.batch_norm(y, mean, var, weight, bias, running is None, 0.1, block.eps)

    y = torch.stack([norm(step) for step in x]) if per_step else norm(x.flatten(0, 1)).view(x.shape)
    y = y.relu() if block.relu else y
    neuron = {"threshold": block.threshold, "decay": block.decay, "rule": block.rule}
    spikes = kernels.lif(y, **neuron, silent=block.silent, spike_cost=block.spike_cost, backend="reference")
    if block.pool == 1:
        return spikes, spikes.sum()
    pooled = F.max_pool2d(spikes.flatten(0, 1), block.pool)
    return pooled.view(*x.shape[:3], *pooled.shape[2:]), spikes.sum()


def tensors(shape, dtype, seed=0):
    random = torch.Generator().manual_seed(seed)
    x = 2 * torch.randn(shape, generator=random, dtype=dtype) + 0.7
    weight = torch.rand(shape[2], generator=random, dtype=dtype) + 0.5
    bias = torch.randn(shape[2], generator=random, dtype=dtype) / 2
    return [tensor.requires_grad_() for tensor in (x, weight, bias)]


def assert_equal_to_torch(leaves, block, *, per_step=False, running=None, tolerance=1e-10):
    x = leaves[0]
    expected, expected_count = plain(*leaves, block, per_step=per_step, running=running)
    stats = Statistics(*(value.double()[None] for value in running)) if running else None
    spikes, spike_count, _ = kernels.block(*leaves, block, stats=stats, per_step=per_step, backend="cpu")
    assert torch.equal(spikes, expected)
    assert spike_count.item() == expected_count.item()
    error = torch.randn(expected.shape, generator=torch.Generator().manual_seed(9), dtype=x.dtype)
    gradients, wanted = (torch.autograd.grad(out, leaves, error) for out in (spikes, expected))
    for gradient, other in zip(gradients, wanted, strict=True):
        assert gradient.shape == other.shape
        torch.testing.assert_close(gradient, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


def make(steps, *, relu=True, pool=2, rule=RULES[1], threshold=0.5, decay=0.9, silent=None, spike_cost=0.0):
    return BlockSpec(steps, relu, pool, threshold, decay, rule, EPS, silent, spike_cost)
