"""The compiled kernels as operators of torch's, for what looks at a network without running it.

torch.compile, torch.export and torch.jit.trace see tensors that have no memory to give a kernel the address of. They are
given these operators: each runs the same kernel, with the same bits, and says beforehand of which shape and layout its
result is. Elsewhere a kernel is called directly, which takes less time and may reuse its input's memory.

The names of the operators begin with "bpsta::". An exported or traced network runs in a process that has imported this
module: `import bpsta_cli.kernels`.
"""
# annotations are not postponed: torch.library reads an operator's schema from them

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor, nn
from torch.library import custom_op

from bpsta_cli.kernels.block_spec import BlockSpec, Statistics, inverse_deviation, parameter_gradients
from bpsta_cli.kernels.cpu import block as cpu_block
from bpsta_cli.kernels.cpu import convolution, sums
from bpsta_cli.kernels.cpu import lif as cpu_lif
from bpsta_cli.kernels.cpu import norm as cpu_norm
from bpsta_cli.kernels.cpu.convolution import Operation
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.kernels.layouts import channels_last, empty_images
from bpsta_cli.kernels.rule_codes import RuleCode, rule_code, rule_of
from bpsta_cli.rules import SilentGradient

LIF = {"cpu": cpu_lif, "gpu": ops}
BLOCK = {"cpu": cpu_block, "gpu": ops}
IMAGES = 5
"""Axes of images in time."""


def lif(x: Tensor, spec: BlockSpec, backend: str) -> Tensor:
    """The neuron on `backend`, one of `LIF`; of `spec` what is the neuron's."""
    spikes: Tensor = _lif(x, list(_numbers(spec)), backend)
    return spikes


def statistics(x: Tensor, *, per_step: bool, backend: str) -> Statistics:
    """As `block_autograd.Backend` has it."""
    return Statistics(*_statistics(x.detach(), per_step, backend))


def block(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, spec: BlockSpec, *, through_stats: bool, backend: str
) -> tuple[Tensor, Tensor]:
    """As `block_autograd.block`."""
    arrays = (x, weight, bias, stats.mean.detach(), stats.var.detach())
    spikes, spike_count = _block(*arrays, list(_numbers(spec)), spec.steps, spec.pool, through_stats, backend)
    return spikes, spike_count


def norm(
    x: Tensor, weight: Tensor, bias: Tensor, stats: Statistics, *, eps: float, relu: bool, through_stats: bool
) -> Tensor:
    """As `cpu.norm.norm`."""
    y: Tensor = _norm(x, weight, bias, stats.mean.detach(), stats.var.detach(), eps, relu, through_stats)
    return y


def track_statistics(
    running_mean: Tensor, running_var: Tensor, stats: Statistics, *, unbiased: float, momentum: float
) -> None:
    """As `cpu.norm.track`."""
    _track_statistics(running_mean, running_var, stats.mean, stats.var, unbiased, momentum)


def convolve(
    operation: Operation, x: Tensor, batch: int, max_density: float | None, zero_gradient_without_spike: bool
) -> Tensor:
    """As `cpu.convolution.convolve`; the weights are packed at every call."""
    training = torch.is_grad_enabled() and (x.requires_grad or operation.weight.requires_grad)
    y: Tensor = _conv(x, *operation, batch, max_density, zero_gradient_without_spike, training)
    return y


def sum_steps(x: Tensor) -> Tensor:
    """As `sums.sum_steps`, with a gradient."""
    total: Tensor = _sum_steps(x)
    return total


class _Numbers(NamedTuple):
    """A `BlockSpec` but for its whole numbers, as an operator takes it; a `width` of 0 stands for no silent gradient."""

    threshold: float
    decay: float
    rule_number: float
    rule_parameter: float
    detach_reset: float
    tau: float
    width: float
    spike_cost: float
    eps: float
    relu: float


def _numbers(spec: BlockSpec) -> _Numbers:
    code = rule_code(spec.rule)
    assert code is not None  # dispatch asked
    tau, width = (0.0, 0.0) if spec.silent is None else (spec.silent.tau, spec.silent.width)
    rule = (float(code.number), code.parameter, float(code.detach_reset))
    return _Numbers(
        float(spec.threshold),
        float(spec.decay),
        *rule,
        float(tau),
        float(width),
        float(spec.spike_cost),
        spec.eps,
        float(spec.relu),
    )


def _spec(numbers: Sequence[float], steps: int, pool: int = 1) -> BlockSpec:
    """The inverse of `_numbers`."""
    given = _Numbers(*numbers)
    return BlockSpec(
        steps=steps,
        relu=bool(given.relu),
        pool=pool,
        threshold=given.threshold,
        decay=given.decay,
        rule=rule_of(RuleCode(int(given.rule_number), given.rule_parameter, bool(given.detach_reset))),
        eps=given.eps,
        silent=SilentGradient(given.tau, given.width) if given.width else None,
        spike_cost=given.spike_cost,
    )


def _empty(x: Tensor) -> Tensor:
    """Memory for a result in the shape of `x`: images channels last, anything else in the order of its axes."""
    return empty_images(tuple(x.shape), x) if x.dim() == IMAGES else torch.empty_like(x, memory_format=CONTIGUOUS)


def _in_order(x: Tensor) -> Tensor:
    """`x` itself, or a copy in the layout of `_empty`."""
    return channels_last(x) if x.dim() == IMAGES else x.contiguous()


CONTIGUOUS = torch.contiguous_format


@custom_op("bpsta::lif", mutates_args=())
def _lif(x: Tensor, neuron: Sequence[float], backend: str) -> Tensor:
    return LIF[backend].forward(_in_order(x), _spec(neuron, len(x)))


@custom_op("bpsta::lif_backward", mutates_args=())
def _lif_backward(x: Tensor, grad: Tensor, neuron: Sequence[float], backend: str) -> Tensor:
    return LIF[backend].backward(_in_order(x), grad, _spec(neuron, len(x)))


@_lif.register_fake
def _(x: Tensor, _neuron: Sequence[float], _backend: str) -> Tensor:
    return _empty(x)


@_lif_backward.register_fake
def _(x: Tensor, _grad: Tensor, _neuron: Sequence[float], _backend: str) -> Tensor:
    return _empty(x)


def _keep_lif(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, ctx.neuron, ctx.backend = inputs
    ctx.save_for_backward(x)


def _lif_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return _lif_backward(*ctx.saved_tensors, grad, ctx.neuron, ctx.backend), None, None


_lif.register_autograd(_lif_gradient, setup_context=_keep_lif)


@custom_op("bpsta::statistics", mutates_args=())
def _statistics(x: Tensor, per_step: bool, backend: str) -> tuple[Tensor, Tensor]:
    return tuple(BLOCK[backend].statistics(x, per_step=per_step))


@_statistics.register_fake
def _(x: Tensor, per_step: bool, _backend: str) -> tuple[Tensor, Tensor]:
    shape = (x.shape[0] if per_step else 1, x.shape[2])
    return x.new_empty(shape, dtype=torch.float64), x.new_empty(shape, dtype=torch.float64)


@custom_op("bpsta::block", mutates_args=())
def _block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    numbers: Sequence[float],
    steps: int,
    pool: int,
    through_stats: bool,  # noqa: ARG001
    backend: str,
) -> tuple[Tensor, Tensor]:
    x, spec = channels_last(x), _spec(numbers, steps, pool)
    spikes = _empty_pooled(x, steps, pool)
    return spikes, BLOCK[backend].block_forward(x, weight, bias, Statistics(mean, var), spec, spikes)


def _empty_pooled(x: Tensor, steps: int, pool: int) -> Tensor:
    _, batch, channels, height, width = x.shape
    return empty_images((steps, batch, channels, height // pool, width // pool), x)


@_block.register_fake
def _(
    x: Tensor,
    _weight: Tensor,
    _bias: Tensor,
    _mean: Tensor,
    _var: Tensor,
    _numbers: Sequence[float],
    steps: int,
    pool: int,
    _through_stats: bool,
    _backend: str,
) -> tuple[Tensor, Tensor]:
    return _empty_pooled(x, steps, pool), x.new_empty((), dtype=torch.float64)


@custom_op("bpsta::block_backward", mutates_args=())
def _block_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    grad: Tensor,
    numbers: Sequence[float],
    steps: int,
    pool: int,
    through_stats: bool,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    x, stats, spec = channels_last(x), Statistics(mean, var), _spec(numbers, steps, pool)
    grad_x = empty_images(tuple(x.shape), x)
    inputs = (x, weight, bias, stats, spec, channels_last(grad))
    found = BLOCK[backend].block_backward(*inputs, grad_x, through_stats=through_stats)
    return grad_x, *parameter_gradients(inverse_deviation(stats, spec.eps), found, weight)


@_block_backward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _bias: Tensor,
    _mean: Tensor,
    _var: Tensor,
    _grad: Tensor,
    _numbers: Sequence[float],
    _steps: int,
    _pool: int,
    _through_stats: bool,
    _backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return empty_images(tuple(x.shape), x), torch.empty_like(weight), torch.empty_like(weight)


def _keep_block(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(*inputs[:5])
    ctx.others = inputs[5:]


def _block_gradient(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    return *_block_backward(*ctx.saved_tensors, grad, *ctx.others), *[None] * 7


_block.register_autograd(_block_gradient, setup_context=_keep_block)


@custom_op("bpsta::norm", mutates_args=())
def _norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    eps: float,
    relu: bool,
    through_stats: bool,  # noqa: ARG001
) -> Tensor:
    return cpu_norm.forward(x, cpu_norm.affine(x, weight, bias, Statistics(mean, var), eps), relu=relu)


@_norm.register_fake
def _(
    x: Tensor, _weight: Tensor, _bias: Tensor, _mean: Tensor, _var: Tensor, _eps: float, _relu: bool, _through: bool
) -> Tensor:
    return empty_images(tuple(x.shape), x)


@custom_op("bpsta::norm_backward", mutates_args=())
def _norm_backward(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    mean: Tensor,
    var: Tensor,
    grad: Tensor,
    eps: float,
    relu: bool,
    through_stats: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    stats = Statistics(mean, var)
    values = cpu_norm.affine(x, weight, bias, stats, eps)
    grad_x, of_weight, of_bias = cpu_norm.gradients(
        x, weight, grad, stats, values, eps=eps, relu=relu, through_stats=through_stats, needs_x=True
    )
    assert grad_x is not None
    return grad_x, of_weight, of_bias


@_norm_backward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    _mean: Tensor,
    _var: Tensor,
    _grad: Tensor,
    _eps: float,
    _relu: bool,
    _through: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    return empty_images(tuple(x.shape), x), torch.empty_like(weight), torch.empty_like(bias)


def _keep_norm(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:5])
    ctx.others = inputs[5:]


def _norm_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    return *_norm_backward(*ctx.saved_tensors, grad, *ctx.others), *[None] * 5


_norm.register_autograd(_norm_gradient, setup_context=_keep_norm)


@custom_op("bpsta::track_statistics", mutates_args=("running_mean", "running_var"))
def _track_statistics(
    running_mean: Tensor, running_var: Tensor, mean: Tensor, var: Tensor, unbiased: float, momentum: float
) -> None:
    cpu_norm.track(running_mean, running_var, Statistics(mean, var), unbiased=unbiased, momentum=momentum)


@custom_op("bpsta::conv", mutates_args=())
def _conv(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    stride: int,
    padding: int,
    batch: int,  # noqa: ARG001
    max_density: Optional[float],
    zero_gradient_without_spike: bool,  # noqa: ARG001
    training: bool,
) -> Tensor:
    operation = Operation(weight, bias, stride, padding)
    return convolution.output(operation, x, convolution.planned(operation, x, max_density, training=training))


@_conv.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _bias: Optional[Tensor],
    stride: int,
    padding: int,
    _batch: int,
    _max_density: Optional[float],
    _zero_gradient_without_spike: bool,
    _training: bool,
) -> Tensor:
    height, width = (
        (side + 2 * padding - length) // stride + 1
        for side, length in zip(x.shape[2:], weight.shape[2:], strict=True)
    )
    return x.new_empty(x.shape[0], height, width, weight.shape[0]).permute(0, 3, 1, 2)


@custom_op("bpsta::conv_backward", mutates_args=())
def _conv_backward(
    x: Tensor,
    weight: Tensor,
    grad: Tensor,
    stride: int,
    padding: int,
    batch: int,
    max_density: Optional[float],
    zero_gradient_without_spike: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    plan = convolution.planned(Operation(weight, None, stride, padding), x, max_density, training=True)
    sparse = plan.sparse_gradients(
        needs_x=needs[0], needs_weight=needs[1], zero_gradient_without_spike=zero_gradient_without_spike
    )
    found = convolution.gradients(
        x, weight, grad, sizes=plan.sizes, batch=batch, spikes=plan.spikes, sparse=sparse, needs=needs
    )
    of_x, of_weight, of_bias = (x.new_empty(0) if each is None else each for each in found)
    return of_x, of_weight, of_bias


@_conv_backward.register_fake
def _(
    x: Tensor,
    weight: Tensor,
    _grad: Tensor,
    _stride: int,
    _padding: int,
    _batch: int,
    _max_density: Optional[float],
    _zero_gradient_without_spike: bool,
    needs: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    images, channels, height, width = x.shape
    of_x = x.new_empty(images, height, width, channels).permute(0, 3, 1, 2)
    of_weight = x.new_empty(weight.shape)
    found = (of_x, of_weight, x.new_empty(weight.shape[0]))
    of_x, of_weight, of_bias = (each if needed else x.new_empty(0) for each, needed in zip(found, needs, strict=True))
    return of_x, of_weight, of_bias


def _keep_conv(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, weight, _, *ctx.others, _ = inputs
    ctx.save_for_backward(x, weight)


def _conv_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    needs = list(ctx.needs_input_grad[:3])
    found = _conv_backward(*ctx.saved_tensors, grad, *ctx.others, needs)
    return *(each if needed else None for each, needed in zip(found, needs, strict=True)), *[None] * 6


_conv.register_autograd(_conv_gradient, setup_context=_keep_conv)


@custom_op("bpsta::sum_steps", mutates_args=())
def _sum_steps(x: Tensor) -> Tensor:
    return sums.sum_steps(x).contiguous() if len(x) > 1 else x[0].clone(memory_format=CONTIGUOUS)


@_sum_steps.register_fake
def _(x: Tensor) -> Tensor:
    return x.new_empty(x.shape[1:])


def _keep_steps(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.steps = inputs[0].shape[0]


def _sum_gradient(ctx: Any, grad: Tensor) -> Tensor:
    return grad.expand(ctx.steps, *grad.shape)


_sum_steps.register_autograd(_sum_gradient, setup_context=_keep_steps)
