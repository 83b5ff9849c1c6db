"""The reference's gradients against two computations that share no code with it.

1. Central finite differences of a forward in which what a rule detaches is frozen at its unperturbed value,
   so that the true derivative of that forward is what the rule claims.
2. Autograd through a plain loop over time: for `stbp` a spike with a custom derivative, for `bpsa` and
   `bpsta` the detach trick of the authors' published code, written here from the equations.

The silent gradient and the spike cost are held to both in the same way.
"""

import functools
import math

import pytest
import torch

from bpsta_cli import kernels, rules

lif = functools.partial(kernels.lif, backend="reference")

THRESHOLD, DECAY, ALPHA = 0.5, 0.9, 0.2

# h(x), written from Wu et al. 2018, Eq. 24-27, apart from bpsta_cli.surrogates.
CURVES = {
    ("rectangular", 1.0): lambda x: (x.abs() < 0.5).double(),
    ("rectangular", 0.5): lambda x: 2 * (x.abs() < 0.25).double(),
    ("polynomial", 2.0): lambda x: (x.abs() < 2**0.5) * (2**0.5 / 2 - x.abs() / 2),
    ("sigmoid", 0.3): lambda x: (-x / 0.3).exp() / (1 + (-x / 0.3).exp()) ** 2 / 0.3,
    ("gaussian", 0.4): lambda x: (-(x**2) / 0.8).exp() / math.sqrt(0.8 * math.pi),
}
STBP = [(curve, detach) for curve in CURVES for detach in (False, True)]


@pytest.fixture
def x():
    torch.manual_seed(3)
    return torch.randn(6, 8, dtype=torch.float64)


@pytest.fixture
def loss_weights():
    torch.manual_seed(4)
    return torch.randn(6, 8, dtype=torch.float64)


def claimed(rule, x, loss_weights, **options):
    x = x.clone().requires_grad_()
    spikes = lif(x, threshold=THRESHOLD, decay=DECAY, rule=rule, **options)
    (spikes * loss_weights).sum().backward()
    return spikes.detach(), x.grad


def frozen(x):
    """u* and o* of every step, by the equations."""
    v, us, os = torch.zeros_like(x[0]), [], []
    for x_t in x:
        u = DECAY * v + x_t
        o = (u >= THRESHOLD).double()
        v = u * (1 - o)
        us.append(u)
        os.append(o)
    return us, os


def finite_differences(forward, x, loss_weights, eps=1e-6):
    """d(sum of loss_weights * forward)/dx, one element at a time."""
    gradient = torch.empty_like(x)
    for index in range(x.numel()):
        shift = torch.zeros_like(x)
        shift.view(-1)[index] = eps
        difference = ((forward(x + shift) - forward(x - shift)) * loss_weights).sum()
        gradient.view(-1)[index] = difference / (2 * eps)
    return gradient


def linear_spikes(x, at, slope, reset):
    """Spikes o* + slope (u - u*), with the reset of a rule: `reset(u, o, o*)` gives v."""
    us, os = at
    v, spikes = torch.zeros_like(x[0]), []
    for x_t, u_star, o_star in zip(x, us, os, strict=True):
        u = DECAY * v + x_t
        o = o_star + slope(u_star, o_star) * (u - u_star)
        v = reset(u, o, o_star)
        spikes.append(o)
    return torch.stack(spikes)


def check_against_finite_differences(rule, slope, reset, x, loss_weights):
    at = frozen(x)
    spikes, gradient = claimed(rule, x, loss_weights)
    torch.testing.assert_close(linear_spikes(x, at, slope, reset), spikes, rtol=0, atol=1e-12)
    numeric = finite_differences(lambda x: linear_spikes(x, at, slope, reset), x, loss_weights)
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-7)
    assert gradient.abs().max() > 0.1


def test_bpsa_equals_finite_differences_with_one_over_u_and_the_reset_mask_frozen(x, loss_weights):
    # o = u (o*/u*), so that do/du = o*/u* (Eq. 9); v = u (1 - o*).
    check_against_finite_differences(
        rules.BPSA(), lambda u, o: o / u, lambda u, o, o_star: u * (1 - o_star), x, loss_weights
    )


def test_bpsta_equals_finite_differences_with_the_temporal_path_added(x, loss_weights):
    # As above, and v = u (1 - o*) + alpha (o - o*): the same potential, with Eq. 10 as its derivative.
    check_against_finite_differences(
        rules.BPSTA(ALPHA),
        lambda u, o: o / u,
        lambda u, o, o_star: u * (1 - o_star) + ALPHA * (o - o_star),
        x,
        loss_weights,
    )


@pytest.mark.parametrize(("curve", "detach"), STBP)
def test_stbp_equals_finite_differences_with_h_frozen(curve, detach, x, loss_weights):
    h = CURVES[curve]
    rule = rules.STBP(*curve, detach_reset=detach)
    check_against_finite_differences(
        rule,
        lambda u, o: h(u - THRESHOLD),
        lambda u, o, o_star: u * (1 - (o_star if detach else o)),
        x,
        loss_weights,
    )


@pytest.mark.parametrize(("curve", "detach"), STBP)
def test_stbp_equals_autograd_through_a_loop_with_a_custom_spike(curve, detach, x, loss_weights):
    class Spike(torch.autograd.Function):
        @staticmethod
        def forward(ctx, u):
            ctx.save_for_backward(u)
            return (u >= THRESHOLD).to(u.dtype)

        @staticmethod
        def backward(ctx, grad):
            return grad * CURVES[curve](ctx.saved_tensors[0] - THRESHOLD)

    leaf = x.clone().requires_grad_()
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in leaf:
        u = DECAY * v + x_t
        o = Spike.apply(u)
        v = u * (1 - (o.detach() if detach else o))
        spikes.append(o)
    (torch.stack(spikes) * loss_weights).sum().backward()
    claimed_spikes, gradient = claimed(rules.STBP(*curve, detach_reset=detach), x, loss_weights)
    assert torch.equal(claimed_spikes, torch.stack(spikes).detach())
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_bpsa_and_bpsta_equal_autograd_through_the_published_detach_trick(alpha, x, loss_weights):
    leaf = x.clone().requires_grad_()
    v, spikes = torch.zeros_like(x[0]), []
    for x_t in leaf:
        u = DECAY * v + x_t
        fired = u.detach() >= THRESHOLD
        o = torch.where(fired, u, 0.0) / torch.where(fired, u.detach(), 1.0)
        v = torch.where(fired, 0.0, u) + alpha * (o - o.detach())
        spikes.append(o)
    (torch.stack(spikes) * loss_weights).sum().backward()
    for rule in [rules.BPSTA(alpha)] + [rules.BPSA()] * (alpha == 0):
        claimed_spikes, gradient = claimed(rule, x, loss_weights)
        assert torch.equal(claimed_spikes, torch.stack(spikes).detach())
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-12, atol=1e-12)


def frozen_silence(os, silent):
    """Where the neurons are silent, [T, ...], by Zhang and Li's trace and limit."""
    trace, found = torch.zeros_like(os[0]), []
    for o in os:
        trace = trace + (o - trace) / silent.tau
        found.append(trace < 1 / (4 * silent.tau))
    return found


DERIVATIVES = {
    # rule, do/du, and v of a spike that has this derivative, as in the tests above
    "bpsa": (rules.BPSA(), lambda u, o: o / u, lambda u, o, o_star: u * (1 - o_star)),
    "bpsta": (rules.BPSTA(ALPHA), lambda u, o: o / u, lambda u, o, o_star: u * (1 - o_star) + ALPHA * (o - o_star)),
    **{
        f"stbp {curve} {detach}": (
            rules.STBP(*curve, detach_reset=detach),
            lambda u, o, h=CURVES[curve]: h(u - THRESHOLD),
            lambda u, o, o_star, detach=detach: u * (1 - (o_star if detach else o)),
        )
        for curve, detach in STBP
    },
}
SILENT = [rules.SilentGradient(), rules.SilentGradient(tau=1.0, width=0.5), rules.SilentGradient(tau=1.4)]


@pytest.mark.parametrize("silent", SILENT, ids=str)
@pytest.mark.parametrize("rule", DERIVATIVES)
def test_the_silent_gradient_equals_finite_differences_with_silence_frozen_and_the_rules_own_reset(
    rule, silent, x, loss_weights
):
    rule, slope, reset = DERIVATIVES[rule]
    us, os = frozen(x)
    quiet = frozen_silence(os, silent)

    def forward(x):
        v, spikes = torch.zeros_like(x[0]), []
        for x_t, u_star, o_star, quiet_t in zip(x, us, os, quiet, strict=True):
            u = DECAY * v + x_t
            own = slope(u_star, o_star)
            v = reset(u, o_star + own * (u - u_star), o_star)
            spikes.append(o_star + torch.where(quiet_t, sigmoid_slope(u_star, silent), own) * (u - u_star))
        return torch.stack(spikes)

    _, gradient = claimed(rule, x, loss_weights, silent=silent)
    torch.testing.assert_close(gradient, finite_differences(forward, x, loss_weights), rtol=1e-6, atol=1e-7)
    assert not torch.equal(gradient, claimed(rule, x, loss_weights)[1])


def sigmoid_slope(u, silent):
    """The derivative of 1 / (1 + e^(-(u - theta) / width)), by its own difference quotient."""
    eps = 1e-5 * silent.width
    rise = torch.sigmoid((u - THRESHOLD + eps) / silent.width) - torch.sigmoid((u - THRESHOLD - eps) / silent.width)
    return rise / (2 * eps)


@pytest.mark.parametrize("silent", [None, *SILENT], ids=str)
@pytest.mark.parametrize("alpha", [0.0, 0.2])
@pytest.mark.parametrize("cost", [0.0, 0.7, -0.3])
def test_silent_gradient_and_spike_cost_equal_autograd_through_a_loop_whose_loss_has_them(
    silent, alpha, cost, x, loss_weights
):
    leaf = x.clone().requires_grad_()
    v, spikes, trace = torch.zeros_like(x[0]), [], torch.zeros_like(x[0])
    for x_t in leaf:
        u = DECAY * v + x_t
        fired = u.detach() >= THRESHOLD
        own = torch.where(fired, u, 0.0) / torch.where(fired, u.detach(), 1.0)
        v = torch.where(fired, 0.0, u) + alpha * (own - own.detach())
        if silent is not None:
            trace = trace + (fired.double() - trace) / silent.tau
            smooth = torch.sigmoid((u - THRESHOLD) / silent.width)
            own = torch.where(trace < 1 / (4 * silent.tau), smooth - smooth.detach(), own)
        spikes.append(own)
    spikes = torch.stack(spikes)
    ((spikes * loss_weights).sum() + cost * spikes.sum()).backward()
    _, gradient = claimed(rules.BPSTA(alpha), x, loss_weights, silent=silent, spike_cost=cost)
    torch.testing.assert_close(gradient, leaf.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rule", DERIVATIVES)
def test_the_spike_cost_is_the_gradient_of_so_much_a_spike(rule, x, loss_weights):
    rule, slope, reset = DERIVATIVES[rule]
    at = frozen(x)
    _, gradient = claimed(rule, x, loss_weights, spike_cost=0.7)
    numeric = finite_differences(lambda x: linear_spikes(x, at, slope, reset), x, loss_weights + 0.7)
    torch.testing.assert_close(gradient, numeric, rtol=1e-6, atol=1e-7)
