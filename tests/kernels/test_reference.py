"""The reference neuron against numbers worked out by hand.

The tables share threshold 0.5, decay 0.5, x = 0.25, 0.5, 0.75, 0.5 and dL/do = 1, 2, 3, 4. By Eq. 4:

    t    x     u = 0.5 v + x           o   v
    0   0.25   0.25                    0   0.25
    1   0.5    0.125 + 0.5  = 0.625    1   0
    2   0.75   0     + 0.75 = 0.75     1   0
    3   0.5    0     + 0.5  = 0.5      1   0     exactly at the threshold: fires

and, backwards, du[t] = g[t] do/du + 0.5 du[t+1] dv/du.
"""

import functools

import pytest
import torch

from bpsta_cli import kernels, rules
from bpsta_cli.kernels import lif_step

lif = functools.partial(kernels.lif, backend="reference")

X = [0.25, 0.5, 0.75, 0.5]
G = [1.0, 2.0, 3.0, 4.0]


def spikes_and_gradient(rule, x=X, g=G, dtype=torch.float64):
    x = torch.tensor(x, dtype=dtype, requires_grad=True)
    spikes = lif(x, threshold=0.5, decay=0.5, rule=rule)
    spikes.backward(torch.tensor(g, dtype=dtype))
    return spikes.tolist(), x.grad.tolist()


TABLES = {
    # do/du = o/u = 0, 8/5, 4/3, 2 (Eq. 9); dv/du = 1 - o = 1, 0, 0, 0
    #   du3 = 4 * 2 = 8;  du2 = 3 * 4/3 = 4;  du1 = 2 * 8/5 = 3.2;  du0 = 1 * 0 + 0.5 * 3.2 * 1 = 1.6
    "bpsa": (rules.BPSA(), [1.6, 3.2, 4, 8]),
    # do/du as above; dv/du = (1 - o) + 0.2 o/u = 1, 0.32, 4/15, 0.4 (Eq. 10)
    #   du3 = 8;  du2 = 4 + 0.5 * 8 * 4/15 = 76/15;  du1 = 3.2 + 0.5 * 76/15 * 0.32 = 3.2 + 12.16/15
    #   du0 = 0.5 * du1
    "bpsta": (rules.BPSTA(alpha=0.2), [1.6 + 6.08 / 15, 3.2 + 12.16 / 15, 76 / 15, 8]),
    # h1 with a = 1 is 1 everywhere here; dv/du = (1 - o) - u = 0.75, -0.625, -0.75
    #   du3 = 4;  du2 = 3 - 0.5 * 4 * 0.75 = 1.5;  du1 = 2 - 0.5 * 1.5 * 0.625 = 1.53125
    #   du0 = 1 + 0.5 * 1.53125 * 0.75 = 1.57421875
    "stbp": (rules.STBP(), [1.57421875, 1.53125, 1.5, 4]),
    # the same h, dv/du = 1 - o = 1, 0, 0:  du3 = 4;  du2 = 3;  du1 = 2;  du0 = 1 + 0.5 * 2 = 2
    "stbp, detach_reset": (rules.STBP(detach_reset=True), [2, 2, 3, 4]),
    # h1 with a = 1/4 is 4 where |u - 0.5| < 1/8: at t = 3 alone, as |u1 - 0.5| is exactly 1/8
    #   du3 = 4 * 4 = 16;  dv/du2 = 0 - 0.75 * 0 = 0, so nothing goes further
    "stbp, narrow": (rules.STBP(surrogate_width=0.25), [0, 0, 0, 16]),
    # h2 with a = 4 is 1 - |u - 0.5| = 0.75, 0.875, 0.75, 1
    #   dv/du = (1 - o) - u h = 0.8125, -0.546875, -0.5625
    #   du3 = 4;  du2 = 2.25 - 0.5 * 4 * 0.5625 = 1.125;  du1 = 1.75 - 0.5 * 1.125 * 0.546875 = 1.4423828125
    #   du0 = 0.75 + 0.5 * 1.4423828125 * 0.8125 = 1.335968017578125
    "stbp, polynomial": (rules.STBP("polynomial", 4.0), [1.335968017578125, 1.4423828125, 1.125, 4]),
}


@pytest.mark.parametrize("case", TABLES)
def test_spikes_and_gradients_equal_the_hand_worked_table(case):
    rule, gradient = TABLES[case]
    spikes, got = spikes_and_gradient(rule)
    assert spikes == [0, 1, 1, 1]
    assert got == pytest.approx(gradient, rel=1e-14)


def test_with_the_papers_constants_the_potential_decays_resets_and_gathers_again():
    # threshold 0.5, decay 0.9:
    #   u = 0.3 | 0.27 + 0.2 = 0.47 | 0.423 + 0.1 = 0.523 fires | 0 + 0.4 | 0.36 + 0.2 = 0.56 fires
    # du4 = 1/0.56;  du3 = 0.9 du4;  du2 = 1/0.523 + 0.9 du3 * 0.2/0.523;  du1 = 0.9 du2;  du0 = 0.9 du1
    x = torch.tensor([0.3, 0.2, 0.1, 0.4, 0.2], dtype=torch.float64, requires_grad=True)
    spikes = lif(x)
    spikes.sum().backward()
    du2 = 1 / 0.523 + 0.9 * (0.9 / 0.56) * 0.2 / 0.523
    assert spikes.tolist() == [0, 0, 1, 0, 1]
    assert x.grad.tolist() == pytest.approx([0.81 * du2, 0.9 * du2, du2, 0.9 / 0.56, 1 / 0.56], rel=1e-14)


def test_error_crosses_a_spike_in_time_under_bpsta_and_not_under_bpsa():
    # Only the last spike is asked about; the neuron fired at t = 0 and at t = 1.
    across = {name: spikes_and_gradient(name, x=[1.0, 1.0], g=[0.0, 1.0])[1] for name in ("bpsa", "bpsta")}
    assert across["bpsa"] == [0, 1]
    assert across["bpsta"] == pytest.approx([0.5 * 0.2 / 1.0, 1])  # decay * alpha / u


def test_gradient_is_exactly_zero_where_eq_9_says_so():
    # A neuron that never fires learns nothing under Eq. 9, whatever arrives; u = 0 included (o/u is 0/0).
    for name in ("bpsa", "bpsta"):
        spikes, gradient = spikes_and_gradient(name, x=[0.0, -3.0, 0.4, 0.0], g=[5.0, -5.0, 1e30, 1.0])
        assert spikes == [0, 0, 0, 0]
        assert gradient == [0, 0, 0, 0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_bpsta_with_alpha_0_equals_bpsa_exactly(dtype):
    torch.manual_seed(0)
    x = torch.randn(6, 200, dtype=dtype)
    g = torch.randn(6, 200, dtype=dtype)
    gradients = []
    for rule in (rules.BPSA(), rules.BPSTA(alpha=0.0)):
        leaf = x.clone().requires_grad_()
        lif(leaf, rule=rule).backward(g)
        gradients.append(leaf.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_all_rules_share_the_forward_bit_for_bit_with_and_without_gradient(dtype):
    torch.manual_seed(0)
    x = torch.randn(5, 300).to(dtype)
    spikes = [lif(x, rule=rule) for rule, _ in TABLES.values()]
    spikes += [lif(x.clone().requires_grad_(), rule=rule).detach() for rule, _ in TABLES.values()]
    assert all(torch.equal(spikes[0], other) for other in spikes)
    assert 0 < spikes[0].float().mean() < 1


def test_stepping_gives_the_spikes_of_the_loop():
    torch.manual_seed(0)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        x = torch.randn(6, 40, 3).to(dtype).requires_grad_()
        v, spikes = None, []
        for x_t in x:
            o, v = lif_step(v, x_t, threshold=0.4, decay=0.8)
            spikes.append(o)
        assert torch.equal(torch.stack(spikes), lif(x, threshold=0.4, decay=0.8))
        assert not o.requires_grad
        assert not v.requires_grad
        assert v.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)


def test_a_half_input_keeps_its_state_in_float32():
    # 1/4 + 1/1024 lies half way between two bfloat16 numbers and rounds back to 1/4: a bfloat16 potential
    # never grows. In float32 it gains 1/1024 a step and reaches 1/4 + 8/1024 at t = 8.
    x = torch.tensor([0.25] + [1 / 1024] * 9, dtype=torch.bfloat16)
    spikes = lif(x, threshold=0.25 + 8 / 1024, decay=1.0)
    assert spikes.dtype == torch.bfloat16
    assert spikes.tolist() == [0] * 8 + [1, 0]
    bfloat16_state = x[0]
    for x_t in x[1:]:
        bfloat16_state = bfloat16_state + x_t
    assert bfloat16_state == 0.25


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_half_gradient_is_the_float32_gradient_rounded_once(dtype):
    torch.manual_seed(0)
    x, g = torch.randn(5, 100).to(dtype), torch.randn(5, 100).to(dtype)
    for rule, _ in TABLES.values():
        half, full = x.clone().requires_grad_(), x.float().requires_grad_()
        lif(half, rule=rule).backward(g)
        lif(full, rule=rule).backward(g.float())
        assert half.grad.dtype == dtype
        assert torch.equal(half.grad, full.grad.to(dtype))


def test_the_potential_alone_is_saved_and_nothing_without_gradient():
    saved = []

    def pack(tensor):
        saved.append(tuple(tensor.shape))
        return tensor

    x = torch.randn(4, 10, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.no_grad():
            assert not lif(x).requires_grad
        assert not lif(x.detach()).requires_grad
        assert saved == []
        assert lif(x).requires_grad
        assert saved == [(4, 10)]


def test_every_element_is_written_poisoned_memory_does_not_show():
    torch.manual_seed(0)
    x, g = torch.randn(7, 63), torch.randn(7, 63)
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)  # fills fresh memory with NaN
    try:
        for rule, _ in TABLES.values():
            leaf = x.clone().requires_grad_()
            spikes = lif(leaf, rule=rule)
            spikes.backward(g)
            assert spikes.isfinite().all()
            assert leaf.grad.isfinite().all()
    finally:
        torch.use_deterministic_algorithms(was)


def test_a_second_derivative_is_refused():
    x = torch.ones(2, 3, requires_grad=True)
    (first,) = torch.autograd.grad(lif(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
