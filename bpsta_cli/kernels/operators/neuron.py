"""The neuron as an operator, and a `BlockSpec` as operators take it: a list of numbers."""
# annotations are not postponed: torch.library reads an operator's schema from them

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.library import custom_op

from bpsta_cli.kernels.block_spec import BlockSpec
from bpsta_cli.kernels.cpu import lif as cpu_lif
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.kernels.layouts import channels_last, empty_images
from bpsta_cli.kernels.rule_codes import RuleCode, rule_code, rule_of
from bpsta_cli.rules import SilentGradient


class Neuron(Protocol):
    """What a device has for the neuron; of the `BlockSpec` it reads what is the neuron's."""

    def forward(self, x: Tensor, spec: BlockSpec) -> Tensor:
        """Spikes [T, ...], without gradient."""

    def backward(self, x: Tensor, error: Tensor, spec: BlockSpec) -> Tensor:
        """dL/dx from dL/do."""


LIF: dict[str, Neuron] = {"cpu": cpu_lif, "gpu": ops}
IMAGES = 5
"""Axes of images in time."""


def lif(x: Tensor, spec: BlockSpec, backend: str) -> Tensor:
    """The neuron on `backend`, one of `LIF`; of `spec` what is the neuron's."""
    spikes: Tensor = _lif(x, numbers_of(spec), backend)
    return spikes


class _Numbers(NamedTuple):
    """A `BlockSpec` but for its whole numbers, as operators take it; a `width` of 0 stands for no silent gradient."""

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


def numbers_of(spec: BlockSpec) -> list[float]:
    """What of `spec` an operator is given beside its whole numbers."""
    code = rule_code(spec.rule)
    assert code is not None  # dispatch asked
    numbers = _Numbers(
        threshold=spec.threshold,
        decay=spec.decay,
        rule_number=code.number,
        rule_parameter=code.parameter,
        detach_reset=code.detach_reset,
        tau=0.0 if spec.silent is None else spec.silent.tau,
        width=0.0 if spec.silent is None else spec.silent.width,
        spike_cost=spec.spike_cost,
        eps=spec.eps,
        relu=spec.relu,
    )
    return [float(number) for number in numbers]


def spec_of(numbers: Sequence[float], steps: int, pool: int = 1) -> BlockSpec:
    """The inverse of `numbers_of`."""
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
    return (
        empty_images(tuple(x.shape), x)
        if x.dim() == IMAGES
        else torch.empty_like(x, memory_format=torch.contiguous_format)
    )


def _in_order(x: Tensor) -> Tensor:
    """`x` itself, or a copy in the layout of `_empty`."""
    return channels_last(x) if x.dim() == IMAGES else x.contiguous()


@custom_op("bpsta::lif", mutates_args=())
def _lif(x: Tensor, neuron: Sequence[float], backend: str) -> Tensor:
    return LIF[backend].forward(_in_order(x), spec_of(neuron, len(x)))


@custom_op("bpsta::lif_backward", mutates_args=())
def _lif_backward(x: Tensor, grad: Tensor, neuron: Sequence[float], backend: str) -> Tensor:
    return LIF[backend].backward(_in_order(x), grad, spec_of(neuron, len(x)))


@_lif.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return _empty(x)


@_lif_backward.register_fake
def _(x: Tensor, *_: Any) -> Tensor:
    return _empty(x)


def _keep_lif(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    x, ctx.neuron, ctx.backend = inputs
    ctx.save_for_backward(x)


def _lif_gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return _lif_backward(*ctx.saved_tensors, grad, ctx.neuron, ctx.backend), None, None


_lif.register_autograd(_lif_gradient, setup_context=_keep_lif)
