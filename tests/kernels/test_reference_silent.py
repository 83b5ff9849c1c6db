"""The silent gradient and the spike cost against numbers worked out by hand, in every backend of the CPU.

The tables share threshold 0.5, decay 0.5 and x = 0.25, 0.5, 0.25, 0.125, 0.125, 0.125, which gives

    t               0      1      2      3      4      5
    u            0.25  0.625   0.25   0.25   0.25   0.25
    o               0      1      0      0      0      0
    s, tau = 1      0      1      0      0      0      0      below 1/4 at 0, 2, 3, 4 and 5
    s, tau = 2      0    1/2    1/4    1/8   1/16   1/32      below 1/8 at 0, 4 and 5; at 3 it is exactly 1/8
    s, tau = 3      0    1/3    2/9   4/27   8/81 16/243      below 1/12 at 0 and 5 alone, 8/81 being 0.0988

The width is 0.25 / ln 3, so that where u = 0.25 the sigmoid is 1 / (1 + e^ln 3) = 1/4 and its derivative
c = 1/4 3/4 / width = 3/4 ln 3. Backwards, du[t] = (g[t] + cost) do/du + 0.5 du[t+1] dv/du with g = 1 to 6.
"""

import math

import pytest
import torch

from bpsta_cli import kernels, rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import dispatch, reference

X = [0.25, 0.5, 0.25, 0.125, 0.125, 0.125]
U = [0.25, 0.625, 0.25, 0.25, 0.25, 0.25]
SPIKES = [0, 1, 0, 0, 0, 0]
C = 0.75 * math.log(3)
WIDTH = 0.25 / math.log(3)
STBP = rules.STBP()  # h is 1 where |u - 0.5| < 0.5, here everywhere; dv/du = (1 - o) - u is 0.75, and -0.625 at t = 1
NAN, INF = float("nan"), float("inf")


@pytest.fixture(params=["reference", "cpu"])
def backend(request):
    if request.param == "cpu" and dispatch.choose().name != "cpu":
        pytest.skip(dispatch.choose().why)
    return request.param


def spikes_and_gradient(rule, backend, *, x=X, g=None, dtype=torch.float64, decay=0.5, **options):
    x = torch.tensor(x, dtype=dtype)[:, None].expand(-1, 5).contiguous().requires_grad_()
    g = torch.tensor([*range(1, len(x) + 1)] if g is None else g, dtype=dtype)[:, None].expand(-1, 5)
    spikes = kernels.lif(x, threshold=0.5, decay=decay, rule=rule, backend=backend, **options)
    spikes.backward(g)
    assert all(torch.equal(column.nan_to_num(7), x.grad[:, 0].nan_to_num(7)) for column in x.grad.T)
    return spikes[:, 0].tolist(), x.grad[:, 0].tolist()


TABLES = {
    # do/du = c, 1.6, c, c, c, c; dv/du = 1, 0, 1, 1, 1, 1
    #   du5 = 6c;  du4 = 5c + 3c;  du3 = 4c + 4c;  du2 = 3c + 4c;  du1 = 2 * 1.6;  du0 = c + 0.5 du1
    "bpsa, tau 1": (rules.BPSA(), 1.0, 0.0, [1.6 + C, 3.2, 7 * C, 8 * C, 8 * C, 6 * C]),
    # do/du = c, 1.6, 0, 0, c, c:  du5 = 6c;  du4 = 8c;  du3 = 0 + 4c;  du2 = 0 + 2c;  du1 and du0 as before
    "bpsa, tau 2": (rules.BPSA(), 2.0, 0.0, [1.6 + C, 3.2, 2 * C, 4 * C, 8 * C, 6 * C]),
    # do/du = c, 1.6, 0, 0, 0, c:  du5 = 6c, then half of it a step
    "bpsa, tau 3": (rules.BPSA(), 3.0, 0.0, [1.6 + C, 3.2, 0.75 * C, 1.5 * C, 3 * C, 6 * C]),
    # as bpsa, but dv/du = 0.2 * 1.6 = 0.32 at t = 1:  du1 = 3.2 + 0.16 du2;  du0 = c + 0.5 du1
    # alpha o/u stays 0 at the silent steps: there dv/du = 1, whatever the sigmoid is
    "bpsta, tau 1": (rules.BPSTA(), 1.0, 0.0, [1.6 + 1.56 * C, 3.2 + 1.12 * C, 7 * C, 8 * C, 8 * C, 6 * C]),
    "bpsta, tau 2": (rules.BPSTA(), 2.0, 0.0, [1.6 + 1.16 * C, 3.2 + 0.32 * C, 2 * C, 4 * C, 8 * C, 6 * C]),
    "bpsta, tau 3": (rules.BPSTA(), 3.0, 0.0, [1.6 + 1.06 * C, 3.2 + 0.12 * C, 0.75 * C, 1.5 * C, 3 * C, 6 * C]),
    # do/du = c, 1, 1, 1, c, c:  du5 = 6c;  du4 = 5c + 0.375 * 6c = 7.25c;  du3 = 4 + 0.375 * 7.25c = 4 + 2.71875c
    #   du2 = 3 + 0.375 du3 = 4.5 + 1.01953125c;  du1 = 2 - 0.3125 du2;  du0 = c + 0.375 du1
    "stbp, tau 2": (
        STBP,
        2.0,
        0.0,
        [
            *(0.22265625 + 0.880523681640625 * C, 0.59375 - 0.318603515625 * C),
            *(4.5 + 1.01953125 * C, 4 + 2.71875 * C, 7.25 * C, 6 * C),
        ],
    ),
    # the same do/du, dv/du = 1 - o:  du4 = 5c + 3c;  du3 = 4 + 4c;  du2 = 3 + 2 + 2c;  du1 = 2;  du0 = c + 1
    "stbp detached, tau 2": (rules.STBP(detach_reset=True), 2.0, 0.0, [1 + C, 2, 5 + 2 * C, 4 + 4 * C, 8 * C, 6 * C]),
    # each spike costs 1, so that g + cost = 2 to 7
    #   du5 = 7c;  du4 = 6c + 3.5c;  du3 = 4.75c;  du2 = 2.375c;  du1 = 3 * 1.6 + 0.16 du2;  du0 = 2c + 0.5 du1
    "bpsta, tau 2, cost": (
        rules.BPSTA(),
        2.0,
        1.0,
        [2.4 + 2.19 * C, 4.8 + 0.38 * C, 2.375 * C, 4.75 * C, 9.5 * C, 7 * C],
    ),
    # no silent gradient:  du1 = 3 * 1.6;  du0 = 0.5 du1;  the silent steps stay without
    "bpsa, cost": (rules.BPSA(), None, 1.0, [2.4, 4.8, 0, 0, 0, 0]),
}


@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-14), (torch.float32, 1e-6)], ids=str)
@pytest.mark.parametrize("case", TABLES)
def test_gradients_equal_the_hand_worked_tables(case, dtype, rounding, backend):
    rule, tau, cost, gradient = TABLES[case]
    silent = None if tau is None else rules.SilentGradient(tau, WIDTH)
    spikes, got = spikes_and_gradient(rule, backend, dtype=dtype, silent=silent, spike_cost=cost)
    assert spikes == SPIKES
    assert got == pytest.approx(gradient, rel=rounding)


@pytest.mark.parametrize(("tau", "silent"), [(1.0, {0, 2, 3, 4, 5}), (2.0, {0, 4, 5}), (3.0, {0, 5})])
def test_a_neuron_is_silent_where_its_trace_is_below_the_limit_and_not_where_it_is_at_it(tau, silent):
    found = reference.silent_steps(torch.tensor(U)[:, None], 0.5, rules.SilentGradient(tau))
    assert {t for t, value in enumerate(found[:, 0].tolist()) if value} == silent


@pytest.mark.parametrize("tau", [1.0, 1.3, 3.0, 7.0, 1e30])
def test_a_neuron_is_never_silent_where_it_fires_and_always_before_it_first_does(tau):
    u = torch.randn(40, 500, generator=torch.Generator().manual_seed(0))
    found = reference.silent_steps(u, 0.5, rules.SilentGradient(tau))
    assert not found[u >= 0.5].any()
    assert found[(u >= 0.5).cumsum(0) == 0].all()


def test_the_silent_gradient_is_largest_at_the_threshold_and_fades_below_it(backend):
    # at the threshold the sigmoid would be 1/2, its derivative 1 / (4 width); far below it nothing is left
    nearly = math.nextafter(0.5, 0)
    for u, expected in ((nearly, 1.25), (0.0, math.exp(-2.5) / (1 + math.exp(-2.5)) ** 2 / 0.2), (-1e4, 0.0)):
        got = spikes_and_gradient("bpsta", backend, x=[u], g=[1.0], silent=rules.SilentGradient())[1]
        assert got == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("rule", ["bpsa", "bpsta", "stbp"])
def test_a_nan_shows_in_the_gradient_and_infinities_pass_nothing(rule, backend):
    options = {"g": [1.0], "silent": rules.SilentGradient(), "spike_cost": 0.5}
    for value, fires, shown in ((NAN, 0, True), (-INF, 0, False), (INF, 1, False)):
        spikes, (gradient,) = spikes_and_gradient(rule, backend, x=[value], **options)
        assert spikes == [fires]
        assert math.isnan(gradient) if shown else gradient == 0
    _, gradient = spikes_and_gradient(rule, backend, x=[0.25, NAN], **options | {"g": [1.0, 1.0]})
    assert all(map(math.isnan, gradient))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_half_gradient_is_the_float32_gradient_rounded_once(dtype):
    options = {"silent": rules.SilentGradient(), "spike_cost": 0.1}
    random = torch.Generator().manual_seed(0)
    x, g = (torch.randn(6, 100, generator=random).to(dtype) for _ in range(2))
    half, full = x.clone().requires_grad_(), x.float().requires_grad_()
    kernels.lif(half, backend="reference", **options).backward(g)
    kernels.lif(full, backend="reference", **options).backward(g.float())
    assert torch.equal(half.grad, full.grad.to(dtype))


@pytest.mark.parametrize(
    "values", [{"tau": 0.9}, {"tau": NAN}, {"tau": INF}, {"width": 0.0}, {"width": -1.0}, {"width": INF}], ids=str
)
def test_unusable_constants_are_refused(values):
    with pytest.raises(SettingsError, match=f"unusable {next(iter(values))} of the silent gradient"):
        rules.SilentGradient(**values)
