"""The CPU's block is held to torch's batch norm, ReLU and max pooling around the reference neuron."""

import itertools

import pytest
import torch
from block_layers import RULES, assert_equal_to_torch, make, tensors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bpsta_cli import kernels, rules
from bpsta_cli.kernels import dispatch
from bpsta_cli.kernels.block_spec import POOLS
from bpsta_cli.kernels.cpu import block as kernel

CHOICE = dispatch.choose()
pytestmark = pytest.mark.skipif(CHOICE.name != "cpu", reason=CHOICE.why)


@pytest.fixture(autouse=True)
def poisoned():
    """Fresh memory is filled with NaN, so that an element left unwritten shows."""
    was = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(was)


@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize(("relu", "pool"), [*itertools.product((True, False), POOLS)])
def test_spikes_and_every_gradient_are_torchs_for_every_rule_relu_and_pool(rule, relu, pool):
    leaves = tensors((4, 3, 5, 6, 7), torch.float64)
    assert_equal_to_torch(leaves, make(4, relu=relu, pool=pool, rule=rule))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1, 2, 2), (2, 3, 1, 2, 9), (7, 1, 70, 5, 33), (8, 2, 300, 3, 3), (16, 1, 8, 4, 64)]
)
@pytest.mark.parametrize(("per_step", "pool"), [*itertools.product((False, True), POOLS)])
def test_odd_sizes_and_images_with_more_columns_or_channels_than_a_strip(shape, per_step, pool):
    assert_equal_to_torch(tensors(shape, torch.float64), make(shape[0], pool=pool), per_step=per_step)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_small_shape(data):
    pool = data.draw(st.sampled_from(POOLS))
    T, B, C, H, W = (data.draw(st.integers(least, 5)) for least in (1, 1, 1, pool, pool))
    assume(B * H * W > 1)  # torch refuses a single value a channel
    block = make(T, relu=data.draw(st.booleans()), pool=pool)
    leaves = tensors((T, B, C, H, W), torch.float64, seed=data.draw(st.integers(0, 99)))
    assert_equal_to_torch(leaves, block, per_step=data.draw(st.booleans()))


@pytest.mark.parametrize("pool", POOLS)
def test_an_input_that_is_the_same_at_every_step_is_one_step_of_memory(pool):
    x, weight, bias = tensors((1, 3, 5, 6, 7), torch.float64)
    assert_equal_to_torch([x, weight, bias], make(5, pool=pool))


def test_in_evaluation_the_statistics_are_constants():
    leaves = tensors((4, 3, 5, 6, 6), torch.float64)
    running = (torch.linspace(-1, 2, 5).double(), torch.linspace(0.5, 6, 5).double())
    assert_equal_to_torch(leaves, make(4), running=running)


def test_a_current_of_exactly_zero_has_no_gradient_as_torchs_relu_has_it():
    leaves = tensors((3, 2, 4, 6, 6), torch.float64)
    with torch.no_grad():
        leaves[1].zero_()
        leaves[2].zero_()
    assert_equal_to_torch(leaves, make(3, rule=rules.STBP("gaussian")))


@pytest.mark.parametrize(
    "constants", [{"threshold": 0.3, "decay": 0.7}, {"decay": 0.0}, {"threshold": 1.0, "decay": 1.0}]
)
def test_other_constants_of_the_neuron(constants):
    assert_equal_to_torch(tensors((4, 3, 5, 6, 6), torch.float64), make(4, **constants))


@pytest.mark.parametrize("rule", [RULES[0], RULES[1], rules.STBP()], ids=str)
@pytest.mark.parametrize("per_step", [False, True])
def test_float32_agrees_to_its_own_rounding(rule, per_step):
    assert_equal_to_torch(
        tensors((8, 4, 16, 8, 8), torch.float32), make(8, rule=rule), per_step=per_step, tolerance=1e-4
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_shows_in_its_channels_statistics_alone(value):
    for place in (0, 1):  # the first of a channel is what the sums are taken around
        x = torch.randn(2, 2, 3, 4, 4)
        x[place, place, 1, place, place] = value
        mean, var = kernel.statistics(x, per_step=False)
        assert (mean + var).isfinite().tolist() == [[True, False, True]]


def test_the_number_of_threads_changes_no_bit():
    results = []
    for threads in (1, 2, 3):
        was = torch.get_num_threads()
        torch.set_num_threads(threads)
        leaves = tensors((4, 5, 6, 9, 11), torch.float32)
        spikes, spike_count, stats = kernels.block(*leaves, make(4), backend="cpu")
        results.append([*stats, spikes, spike_count, *torch.autograd.grad(spikes.square().sum(), leaves)])
        torch.set_num_threads(was)
    for other in results[1:]:
        assert all(torch.equal(one, two) for one, two in zip(results[0], other, strict=True))


LAYOUTS = {
    "contiguous": lambda x: x.contiguous(),
    "channels last": lambda x: x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3),
    "every other step": lambda x: x.repeat_interleave(2, dim=0)[::2],
    "every other step, channels last": lambda x: LAYOUTS["channels last"](x.repeat_interleave(2, dim=0))[::2],
    "strided": lambda x: x.repeat_interleave(3, dim=-1)[..., 1::3],
    "negated lazily": lambda x: torch._neg_view(-x),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_strides_of_the_input_and_of_its_error_change_nothing(layout):
    x, weight, bias = (leaf.detach() for leaf in tensors((4, 3, 5, 6, 7), torch.float64))
    results = []
    for arrange in (LAYOUTS["channels last"], LAYOUTS[layout]):
        leaf = arrange(x).requires_grad_()
        spikes = kernels.block(leaf, weight, bias, make(4), backend="cpu").spikes
        error = arrange(torch.linspace(-1, 1, spikes.numel(), dtype=x.dtype).view(spikes.shape))
        results.append((spikes, *torch.autograd.grad(spikes, leaf, error)))
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_the_convolutions_output_and_the_norms_weights_alone_are_saved():
    saved = []
    leaves = tensors((3, 2, 4, 6, 6), torch.float32)
    x = LAYOUTS["channels last"](leaves[0].detach()).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor) or tensor, lambda tensor: tensor):
        kernels.block(x, *leaves[1:], make(3), backend="cpu")
    assert [tensor.data_ptr() for tensor in saved] == [tensor.data_ptr() for tensor in (x, *leaves[1:])]


@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("per_step", [False, True])
def test_in_place_the_gradient_is_the_same_and_lies_where_the_input_was(pool, per_step):
    results = []
    for in_place in (False, True):
        leaves = tensors((4, 3, 5, 6, 7), torch.float64)
        x = LAYOUTS["channels last"](leaves[0].detach()).requires_grad_()
        options = {"per_step": per_step, "in_place": in_place, "backend": "cpu"}
        spikes = kernels.block(x, *leaves[1:], make(4, pool=pool), **options).spikes
        error = torch.randn(spikes.shape, generator=torch.Generator().manual_seed(9), dtype=x.dtype)
        results.append(torch.autograd.grad(spikes, (x, *leaves[1:]), error))
        assert (results[-1][0].data_ptr() == x.data_ptr()) == in_place
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


def test_in_place_torch_refuses_a_second_backward_pass():
    leaves = tensors((4, 3, 5, 6, 7), torch.float64)
    x = LAYOUTS["channels last"](leaves[0].detach()).requires_grad_()
    spikes = kernels.block(x, *leaves[1:], make(4), in_place=True, backend="cpu").spikes
    spikes.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        spikes.sum().backward()
