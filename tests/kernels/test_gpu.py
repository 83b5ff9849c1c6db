"""The GPU's kernels are held to the reference and to torch's own layers: on a GPU, else in Triton's interpreter."""

import itertools

import pytest
import torch

from bpsta_cli import kernels, rules
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.block_spec import Statistics
from bpsta_cli.kernels.gpu import launch, ops
from bpsta_cli.network import build, losses
from bpsta_cli.network.neurons import LIF
from tests.kernels.block_layers import RULES, plain, tensors
from tests.kernels.block_layers import make as block_of

DEVICE = ops.default_device()
WHY_NOT = ops.unsupported_reason(DEVICE, torch.float32, None)
pytestmark = [
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
    pytest.mark.filterwarnings("ignore:.*deterministic"),  # `poisoned`, of torch's own operations on a GPU
]

COMBINATIONS = [*itertools.product((True, False), (2, 1), (True, False))]
"""ReLU or not, side of the pooling, and whether each step has its own statistics."""


def on_device(shape, dtype):
    return [leaf.detach().to(DEVICE).requires_grad_() for leaf in tensors(shape, dtype)]


@pytest.fixture(autouse=True)
def poisoned():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(9, device=DEVICE).isnan().all()
    yield
    torch.use_deterministic_algorithms(was)


@pytest.fixture(autouse=True)
def quick_interpreter(monkeypatch):
    """It looks through Triton's language again for every function that a kernel calls: here the kernel's own do."""
    from triton.runtime import interpreter

    real = interpreter.InterpretedFunction.__call__

    def call(self, *args, **options):
        if self.fn.__module__.startswith("bpsta_cli."):
            return self.rewrite()(*args, **options)
        return real(self, *args, **options)

    monkeypatch.setattr(interpreter.InterpretedFunction, "__call__", call)


def randn(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def run(backend, x, g, rule, **constants):
    leaf = x.detach().requires_grad_()  # detach keeps the strides, which clone would not
    spikes = kernels.lif(leaf, rule=rule, backend=backend, **constants)
    (gradient,) = torch.autograd.grad(spikes, leaf, g)
    return spikes.detach(), gradient


def assert_equal_to_reference(x, g, rule, **constants):
    spikes, gradient = run("gpu", x, g, rule, **constants)
    expected_spikes, expected = run("reference", x, g, rule, **constants)
    assert torch.equal(spikes, expected_spikes)
    largest = expected[expected.isfinite()].abs().max().item() if expected.isfinite().any() else 0
    rounding = 8 * torch.finfo(x.dtype).eps
    torch.testing.assert_close(gradient, expected, rtol=0, atol=rounding * largest, equal_nan=True)


# The neuron


@pytest.mark.parametrize(
    ("steps", "n", "dtype", "rule"),
    [
        (1, 1, torch.float32, RULES[0]),
        (2, 63, torch.bfloat16, RULES[1]),
        (7, 600, torch.float16, RULES[1]),
        (35, 3, torch.float32, RULES[2]),
        (2, 65, torch.float64, RULES[5]),
    ],
    ids=str,
)
def test_the_neuron_at_odd_sizes_in_every_dtype_is_the_references(steps, n, dtype, rule):
    x, g = randn(steps, n, dtype=dtype, seed=steps), randn(steps, n, dtype=dtype, seed=1)
    assert_equal_to_reference(x, g, rule)


@pytest.mark.parametrize(("threshold", "decay"), [(1 / 3, 0.7), (1.0, 0.0)])
def test_other_constants_are_rounded_as_in_the_reference(threshold, decay):
    for dtype in (torch.float32, torch.float64):
        assert_equal_to_reference(
            randn(2, 40, dtype=dtype), randn(2, 40, dtype=dtype), RULES[-1], threshold=threshold, decay=decay
        )
        at = torch.full((1, 3), threshold, dtype=dtype, device=DEVICE)
        below = torch.nextafter(at, torch.zeros_like(at))
        spikes = [kernels.lif(x, threshold=threshold, backend="gpu") for x in (at, below)]
        assert [spike.sum().item() for spike in spikes] == [3, 0]


LAYOUTS = {
    "strided": lambda x: x.repeat_interleave(3, dim=-1)[..., 1::3],
    "every other step": lambda x: x.repeat_interleave(2, dim=0).movedim(2, -1).contiguous().movedim(-1, 2)[::2],
    "constant in time": lambda x: x[:1].expand_as(x),
    "negated lazily": lambda x: torch._neg_view(-x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_the_input_and_of_its_error_change_nothing_about_the_neuron(layout):
    x, g = randn(2, 2, 3, 2, 3), randn(2, 2, 3, 2, 3, seed=1)
    assert_equal_to_reference(LAYOUTS[layout](x), LAYOUTS[layout](g), rules.BPSTA())


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the interpreter computes with NumPy
@pytest.mark.parametrize("rule", [rules.BPSTA(), rules.STBP()], ids=str)
def test_nan_infinity_and_extremes_come_out_as_in_the_reference(rule):
    values = [float("nan"), float("inf"), -float("inf"), 0.0, 0.5, 1e30, -1e30]
    x = torch.tensor(list(itertools.product(values, repeat=3)), device=DEVICE).t().contiguous()
    spikes, gradient = run("gpu", x, torch.ones_like(x), rule)
    expected_spikes, expected = run("reference", x, torch.ones_like(x), rule)
    assert torch.equal(spikes, expected_spikes)
    torch.testing.assert_close(gradient, expected, rtol=1e-6, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("shape", [(2, 0), (1,), (5,), (3, 1, 1)])
def test_any_number_of_axes_after_time_is_allowed(shape):
    x = randn(*shape).requires_grad_()
    spikes = kernels.lif(x, backend="gpu")
    assert torch.equal(spikes, kernels.lif(x.detach(), backend="reference"))
    spikes.sum().backward()
    assert x.grad.shape == shape


def test_the_input_alone_is_saved_and_nothing_without_gradient():
    saved = []
    x = randn(4, 10).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        with torch.no_grad():
            assert not kernels.lif(x, backend="gpu").requires_grad
        assert saved == []
        kernels.lif(x, backend="gpu")
    assert [tensor.data_ptr() for tensor in saved] == [x.data_ptr()]


# The block


def agree(leaves, spec, *, per_step=False, running=None, tolerance=1e-10):
    """The block's results are those of torch's layers, gradients to `tolerance` of the largest."""
    expected, count = plain(*leaves, spec, per_step=per_step, running=running)
    stats = Statistics(*(value.double()[None] for value in running)) if running else None
    spikes, spike_count, _ = kernels.block(*leaves, spec, stats=stats, per_step=per_step, backend="gpu")
    assert torch.equal(spikes, expected)
    assert spike_count.item() == count.item()
    error = randn(*expected.shape, dtype=expected.dtype, seed=9)
    gradients, wanted = (torch.autograd.grad(out, leaves, error) for out in (spikes, expected))
    for gradient, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, other, rtol=tolerance, atol=tolerance * other.abs().max().item())


@pytest.fixture
def small(monkeypatch):
    """Programs of few elements and segments of two steps, so that a small input has several of each."""
    monkeypatch.setattr(launch, "THREADS", 16)
    monkeypatch.setattr(launch, "MAX_UNROLLED", 2)


@pytest.mark.parametrize(("rule", "options"), [*zip(RULES, itertools.cycle(COMBINATIONS))], ids=str)
def test_the_block_is_its_layers_for_every_rule_relu_pooling_and_norm(rule, options):
    relu, pool, per_step = options
    agree(on_device((2, 2, 3, 3, 4), torch.float64), block_of(2, relu=relu, pool=pool, rule=rule), per_step=per_step)


@pytest.mark.parametrize(
    ("shape", "pool", "per_step"),
    [((1, 1, 1, 2, 2), 2, False), ((3, 2, 2, 5, 3), 2, True), ((3, 1, 5, 3, 3), 2, False), ((5, 1, 3, 2, 3), 1, True)],
)
def test_odd_sizes_in_several_programs_and_segments(shape, pool, per_step, small):
    agree(on_device(shape, torch.float64), block_of(shape[0], pool=pool), per_step=per_step)


def test_more_channels_and_windows_than_a_program_takes():
    agree(on_device((2, 1, 70, 3, 5), torch.float64), block_of(2))


@pytest.mark.parametrize(("pool", "relu", "steps"), [(1, True, 3), (2, False, 1), (2, True, 3)])
def test_an_input_that_is_the_same_at_every_step_is_one_step_of_memory(pool, relu, steps, small):
    x, weight, bias = on_device((1, 1, 2, 3, 2), torch.float64)
    agree([x, weight, bias], block_of(steps, pool=pool, relu=relu))


def test_in_evaluation_the_statistics_are_constants():
    running = [values.double().to(DEVICE) for values in (torch.linspace(-1, 2, 5), torch.linspace(0.5, 6, 5))]
    agree(on_device((2, 2, 5, 2, 4), torch.float64), block_of(2), running=running)


def test_a_current_of_exactly_zero_has_no_gradient_as_torchs_relu_has_it():
    leaves = on_device((2, 2, 4, 2, 4), torch.float64)
    with torch.no_grad():
        leaves[1].zero_()
        leaves[2].zero_()
    agree(leaves, block_of(2, rule=rules.STBP("gaussian")))


def test_float32_agrees_to_its_own_rounding():
    agree(on_device((2, 3, 8, 6, 6), torch.float32), block_of(2, rule=rules.STBP()), tolerance=1e-4)


@pytest.mark.parametrize("layout", ["strided", "every other step"])
def test_strides_of_the_input_and_of_its_error_change_nothing_about_the_block(layout):
    x, weight, bias = (leaf.detach() for leaf in on_device((2, 2, 3, 2, 3), torch.float64))
    g = randn(2, 2, 3, 2, 3)
    results = []
    for arrange in (torch.Tensor.contiguous, LAYOUTS[layout]):
        leaf = arrange(x).requires_grad_()
        spikes = kernels.block(leaf, weight, bias, block_of(2, pool=1), backend="gpu").spikes
        results.append((spikes, *torch.autograd.grad(spikes, leaf, arrange(g))))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize("pool", [1, 2])
def test_in_place_the_gradient_is_the_same_and_lies_where_the_input_was(pool, small):
    results = []
    for in_place in (False, True):
        x, weight, bias = on_device((3, 1, 2, 3, 4), torch.float64)
        x = x.detach().movedim(2, -1).contiguous().movedim(-1, 2).requires_grad_()
        spikes = kernels.block(x, weight, bias, block_of(3, pool=pool), in_place=in_place, backend="gpu").spikes
        results.append(torch.autograd.grad(spikes.square().sum(), (x, weight, bias)))
        assert (results[-1][0].data_ptr() == x.data_ptr()) == in_place
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.parametrize(("dtype", "per_step"), [(torch.bfloat16, True), (torch.float16, False)], ids=str)
def test_half_precision_is_storage_alone(dtype, per_step):
    """Read, it is float32: the spikes of that, and its gradients rounded once."""
    leaves = on_device((2, 2, 3, 2, 3), torch.float32)
    x = leaves[0].detach().to(dtype)
    results = []
    for stored in (x, x.float()):
        leaf = stored.requires_grad_()
        spikes, spike_count, stats = kernels.block(leaf, *leaves[1:], block_of(2), per_step=per_step, backend="gpu")
        assert spikes.dtype == leaf.dtype
        error = randn(*spikes.shape, dtype=dtype).to(leaf.dtype)
        results.append([*stats, spike_count, spikes, *torch.autograd.grad(spikes, [*leaves[1:], leaf], error)])
    *same, gradient = results[0]
    *expected_same, expected = results[1]
    assert all(torch.equal(one.double(), two.double()) for one, two in zip(same, expected_same, strict=True))
    torch.testing.assert_close(gradient.float(), expected, rtol=torch.finfo(dtype).eps, atol=1e-7)


@pytest.mark.parametrize("per_step", [False, True])
def test_statistics_do_not_cancel_far_from_zero(per_step):
    x = (randn(3, 4, 6, 5, 5) + 1e4).float()
    mean, var = ops.statistics(x, per_step=per_step)
    sets = x.double() if per_step else x.double().flatten(0, 1)[None]
    torch.testing.assert_close(mean, sets.mean((1, 3, 4)), rtol=1e-7, atol=0)
    torch.testing.assert_close(var, sets.var((1, 3, 4), correction=0), rtol=1e-5, atol=0)


def test_statistics_of_more_rows_than_a_program_takes():
    x = randn(2, 3, 65, 16, 16)
    mean, var = ops.statistics(x, per_step=True)
    torch.testing.assert_close(mean, x.mean((1, 3, 4)))
    torch.testing.assert_close(var, x.var((1, 3, 4), correction=0))


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")
def test_a_value_that_is_not_finite_shows_in_its_channels_statistics_alone():
    for place in (0, 1):  # the first of a channel is what the sums are taken around
        x = randn(2, 2, 3, 4, 4)
        x[place, place, 1, place, place] = float("nan")
        mean, var = ops.statistics(x, per_step=False)
        assert (mean + var).isfinite().tolist() == [[True, False, True]]


# A network of them


def passed(network, x, backend, dtype=None):
    """Votes, every gradient, and the state after a training step."""
    for neuron in network.neurons().values():
        neuron.backend = backend
    with torch.autocast(DEVICE.type, dtype=dtype, enabled=dtype is not None):
        votes = network.votes(x)
    losses.loss("mse", votes, torch.arange(len(votes[0]), device=DEVICE) % 3, label_smoothing=0.0).backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    return {"votes": votes.detach(), **gradients, **network.state_dict()}


@pytest.mark.parametrize(("constant", "norm"), [(False, "per-step"), (True, "tdbn"), (False, "none"), (True, "none")])
def test_a_network_gives_the_layers_own_votes_gradients_and_running_statistics(constant, norm):
    x = randn(1 if constant else 2, 3, 2, 4, 4).expand(2, 3, 2, 4, 4)
    results = []
    for backend in ("reference", "gpu"):
        torch.manual_seed(1)
        network = build("4C3-MP2-5C3-2Voting", (2, 4, 4), 3, norm=norm).to(DEVICE, torch.float64)
        results.append(passed(network, x, backend))
    for name, expected in results[0].items():
        torch.testing.assert_close(results[1][name], expected, rtol=1e-8, atol=1e-10, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_under_autocast_the_block_takes_what_the_convolution_gives(dtype, monkeypatch):
    taken = []
    real = ops.block_forward
    monkeypatch.setattr(ops, "block_forward", lambda x, *rest: taken.append(x.dtype) or real(x, *rest))
    network = build("4C3-MP2-5C3-2Voting", (2, 4, 4), 3).to(DEVICE)
    results = passed(network, randn(2, 3, 2, 4, 4, dtype=torch.float32), "gpu", dtype)
    assert taken == [dtype, dtype]
    assert results["votes"].dtype == torch.float32
    assert all(value.isfinite().all() for value in results.values())
    assert network.state_dict()["layers.norm1.running_var"].dtype == torch.float32


# Which backend supports what


class Own(rules.BPSTA):
    """A rule that the kernel has never heard of."""

    name = "own"


def test_the_backend_says_what_it_does_not_support():
    assert dispatch.choose("gpu") == ("gpu", "asked for by name")
    assert LIF(backend="gpu").backend == "gpu"
    with pytest.raises(SettingsError, match="it knows the rules stbp, bpsa and bpsta, and not own"):
        LIF(Own(), backend="gpu")
    with pytest.raises(SettingsError, match="it has no float8_e5m2"):
        dispatch.choose("gpu", dtype=torch.float8_e5m2)
    assert ops.unsupported_reason(torch.device("meta"), torch.float32, None) == (
        f"it runs on {DEVICE.type} and the input is on meta"
    )


@pytest.mark.skipif(DEVICE.type == "cuda", reason="there is a GPU")
def test_without_a_gpu_the_reference_stands_in_for_it_and_says_why(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET")
    why = "there is no GPU that torch can use"
    assert dispatch.choose(device="cuda:1") == ("reference", f"gpu does not support this: {why}")
    with pytest.raises(SettingsError) as told:
        LIF(backend="gpu")
    assert str(told.value) == (
        f'unusable backend "gpu": expected one that supports this input and rule here, got one that does not: {why}. '
        '"auto" takes "reference" instead, with the same spikes.'
    )


def test_without_triton_or_with_one_that_fails_the_backend_says_so(monkeypatch):
    monkeypatch.setattr(ops.importlib.util, "find_spec", lambda _: None)
    assert ops.smoke_test.__wrapped__(DEVICE) == "Triton is not installed"
    monkeypatch.undo()

    def fail(*_, **__):
        raise RuntimeError("no compiler\nand more")

    monkeypatch.setattr(ops, "lif", fail)
    assert ops.smoke_test.__wrapped__(DEVICE) == "a kernel could not be compiled or run: no compiler"
