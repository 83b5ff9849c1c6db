"""The multi-step operations on [T, ...] tensors, forward and backward: neuron, block, convolution and
linear layer.

README.md beside this file has the derivation, the paper's equation numbers and what is detached.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from bpsta_cli import rules
from bpsta_cli.errors import SettingsError, StructureError
from bpsta_cli.kernels import block_autograd, dispatch, operators, reference
from bpsta_cli.kernels.block_spec import BlockSpec, Statistics
from bpsta_cli.kernels.capture import captured
from bpsta_cli.kernels.cpu import block as cpu_block
from bpsta_cli.kernels.cpu import convolution as cpu_convolution
from bpsta_cli.kernels.cpu import library
from bpsta_cli.kernels.cpu import norm as cpu_norm
from bpsta_cli.kernels.cpu.lif import lif as cpu_lif
from bpsta_cli.kernels.gpu import ops
from bpsta_cli.kernels.single_step import single_step
from bpsta_cli.kernels.sums import mean_over, repeated, sum_steps, total, totals

__all__ = [
    "BlockOutput",
    "ConvOutput",
    "block",
    "check_constants",
    "conv",
    "lif",
    "lif_step",
    "linear",
    "mean_over",
    "norm",
    "repeated",
    "single_step",
    "sum_steps",
    "supports_block",
    "supports_norm",
    "total",
    "totals",
    "track_statistics",
]

BLOCK_BACKENDS: dict[str, block_autograd.Backend] = {"cpu": cpu_block, "gpu": ops}


def lif(
    x: Tensor,
    *,
    threshold: float = 0.5,
    decay: float = 0.9,
    rule: str | rules.Rule = "bpsta",
    silent: rules.SilentGradient | None = None,
    spike_cost: float = 0.0,
    backend: str = "auto",
    **rule_settings: rules.Value,
) -> Tensor:
    """Leaky integrate-and-fire with hard reset, all T steps at once.

        u[t] = decay * v[t-1] + x[t]          (Eq. 4; v[-1] = 0)
        o[t] = 1 if u[t] >= threshold else 0
        v[t] = u[t] * (1 - o[t])

    of Shen, Zhao and Zeng, Patterns 3(6), 2022, doi:10.1016/j.patter.2022.100522. The backward pass takes
    do[t]/du[t] and dv[t]/du[t] from `rule`. It can be differentiated once, not twice.

    The state is float64 for float64 inputs and float32 for all others; `threshold` and `decay` are rounded to
    it. A NaN never fires.

    Args:
        x: input current [T, ...], T >= 1, of any strides, in units of potential.
        threshold: potential at and above which the neuron fires, > 0.
        decay: share of the potential that is left after one step (lambda), in [0, 1].
        rule: a name or file that `bpsta_cli.rules.make` takes, or a Rule.
        silent: what do/du is where a neuron hardly fires; None: the rule's there too.
        spike_cost: what each spike adds to the loss, so that dL/do[t] is larger by it at every neuron and step.
        backend: one of `dispatch.BACKENDS`.
        rule_settings: settings of a `rule` given by name, such as alpha=0.2; a Rule has its own.

    Returns:
        Spikes, 0 or 1, in the shape and dtype of `x`.

    Raises:
        SettingsError: an unusable threshold, decay, rule, setting of the rule or backend, or an unsupported backend.
        StructureError: an input without steps or of an integer or complex dtype.
    """
    check_constants(threshold, decay)
    reference.check_floating(x)
    if x.dim() == 0 or len(x) == 0:
        raise StructureError(
            "neuron input without time steps",
            expected="a tensor [T, ...] with T >= 1",
            got=f"shape {list(x.shape)}",
            todo="Put time first; one step is x.unsqueeze(0).",
        )
    rule = rules.make(rule, **rule_settings)
    chosen = dispatch.choose(backend, device=x.device, dtype=x.dtype, rule=rule).name
    if captured(x) and chosen in operators.LIF:
        return operators.lif(
            x, BlockSpec(x.shape[0], False, 1, threshold, decay, rule, 0.0, silent, spike_cost), chosen
        )
    kernel = {"cpu": cpu_lif, "gpu": ops.lif, "reference": reference.lif}[chosen]
    return kernel(x, threshold=threshold, decay=decay, rule=rule, silent=silent, spike_cost=spike_cost)


def lif_step(v: Tensor | None, x: Tensor, *, threshold: float = 0.5, decay: float = 0.9) -> tuple[Tensor, Tensor]:
    """One step of `lif`, forward only, for a runner that decides after every step whether to go on.

    Args:
        v: potential after the previous step, as this function returned it; None before the first.
        x: input current of this step, any shape.
        threshold: as in `lif`.
        decay: as in `lif`.

    Returns:
        Spikes in the dtype of `x`, and the potential after the reset; neither requires a gradient.

    Raises:
        SettingsError: an unusable threshold or decay.
        StructureError: `x` of an integer or complex dtype, or `v` of another shape.
    """
    check_constants(threshold, decay)
    reference.check_floating(x)
    if v is not None and v.shape != x.shape:
        raise StructureError(
            "neuron state of another shape",
            expected=f"the shape of the input, {list(x.shape)}",
            got=f"{list(v.shape)}",
            todo="Start a new sample or batch with v=None.",
        )
    return reference.lif_step(v, x, threshold=threshold, decay=decay)


class BlockOutput(NamedTuple):
    """What a block of norm, ReLU, neuron and pooling gives.

    Attributes:
        spikes: [T, B, C, H / pool, W / pool], rounded down, channels last in memory.
        spike_count: how many neurons fired, before pooling: a float64 number in a tensor.
        stats: the norm's statistics, those given or those of the input.
    """

    spikes: Tensor
    spike_count: Tensor
    stats: Statistics


def block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    spec: BlockSpec,
    *,
    stats: Statistics | None = None,
    per_step: bool = False,
    in_place: bool = False,
    backend: str = "auto",
) -> BlockOutput:
    """max_pool(LIF(ReLU(weight (x - mean) / sqrt(var + eps) + bias))), all T steps as one operation.

    Args:
        x: output of a convolution [T, B, C, H, W], or [1, B, C, H, W] where it is the same at every step.
        weight: gain of the norm [C].
        bias: shift of the norm [C].
        spec: everything else, with constants as in `lif`.
        stats: the norm's statistics, held constant; None for those of `x`, through which the gradient goes too.
        per_step: whether each step of an x of T steps has statistics of its own, where they are those of `x`.
        in_place: whether the backward pass may put the gradient of `x` where `x` was. It can then be run once, and
            torch raises an error for whoever needs `x` afterwards.
        backend: one of `dispatch.BACKENDS`.

    Raises:
        SettingsError: there is no block for this input, rule and backend: `supports_block` says so.
    """
    chosen = dispatch.choose(backend, device=x.device, dtype=x.dtype, rule=spec.rule)
    if chosen.name not in BLOCK_BACKENDS:
        raise SettingsError(
            "no backend for a block",
            expected=f"an input and a rule that one of {', '.join(BLOCK_BACKENDS)} supports",
            got=f"the backend {chosen.name} ({chosen.why})",
            todo="Run norm, ReLU, neuron and pooling one by one.",
        )
    if captured(x):
        return _captured_block(x, weight, bias, spec, stats, per_step=per_step, backend=chosen.name)
    passes = BLOCK_BACKENDS[chosen.name]
    given = stats is not None
    stats = stats if stats is not None else passes.statistics(x, per_step=per_step)
    spikes, spike_count = block_autograd.block(
        passes, x, weight, bias, stats, spec, through_stats=not given, in_place=in_place
    )
    return BlockOutput(spikes, spike_count, stats)


def _captured_block(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    spec: BlockSpec,
    given: Statistics | None,
    *,
    per_step: bool,
    backend: str,
) -> BlockOutput:
    stats = operators.statistics(x, per_step=per_step, backend=backend) if given is None else given
    spikes, spike_count = operators.block(x, weight, bias, stats, spec, through_stats=given is None, backend=backend)
    return BlockOutput(spikes, spike_count, stats)


def supports_block(device: torch.device, dtype: torch.dtype, rule: rules.Rule, *, backend: str = "auto") -> bool:
    """Whether `block` can run for such an input, rule and backend."""
    return dispatch.choose(backend, device=device, dtype=dtype, rule=rule).name in BLOCK_BACKENDS


def norm(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    eps: float,
    stats: Statistics | None = None,
    per_step: bool = False,
    relu: bool = False,
) -> tuple[Tensor, Statistics]:
    """weight (x - mean) / sqrt(var + eps) + bias, and a ReLU of that: batch norm that is not part of a block.

    `supports_norm` was asked before. It can be differentiated once, not twice.

    Args:
        x: output of a convolution [T, B, C, H, W], or [1, B, C, H, W] where it is the same at every step.
        weight: gain of the norm [C].
        bias: shift of the norm [C].
        eps: what is added to the variance.
        stats: the statistics, held constant; None for those of `x`, through which the gradient goes too.
        per_step: whether each step of an x of T steps has statistics of its own, where they are those of `x`.
        relu: whether there is a ReLU behind it.

    Returns:
        The output in the shape of `x`, channels last in memory, and the statistics.
    """
    through_stats = stats is None
    if captured(x):
        stats = operators.statistics(x, per_step=per_step, backend="cpu") if stats is None else stats
        return operators.norm(x, weight, bias, stats, eps=eps, relu=relu, through_stats=through_stats), stats
    stats = cpu_norm.statistics(x, per_step=per_step) if stats is None else stats
    return cpu_norm.norm(x, weight, bias, stats, eps=eps, relu=relu, through_stats=through_stats), stats


def track_statistics(running: tuple[Tensor, Tensor], stats: Statistics, *, unbiased: float, momentum: float) -> None:
    """Running mean and variance [C] <- (1 - momentum) of them + momentum of one set of statistics [C], in place.

    Args:
        running: the two.
        stats: mean and biased variance, float64.
        unbiased: n / (n - 1), which makes the variance of n values unbiased.
        momentum: share of the new in the result.
    """
    if stats.mean.dtype == torch.float64 and not library.unsupported_reason(running[0].device, running[0].dtype, None):
        track = operators.track_statistics if captured(running[0]) else cpu_norm.track
        track(*running, stats, unbiased=unbiased, momentum=momentum)
        return
    with torch.no_grad():
        for old, new in zip(running, (stats.mean, stats.var * unbiased), strict=True):
            old.copy_(old.double() * (1 - momentum) + new.double() * momentum)


def supports_norm(x: Tensor, weight: Tensor) -> bool:
    """Whether `norm` can run for such an input and gain; torch's own batch norm serves where it cannot."""
    return x.dtype == weight.dtype and not library.unsupported_reason(x.device, x.dtype, None)


class ConvOutput(NamedTuple):
    """What a convolution gives.

    Attributes:
        images: [N, filters, H', W'], channels last in memory where a kernel computed it.
        sparse: whether the products by 0 were left out; False where the network is looked at without running it.
    """

    images: Tensor
    sparse: bool


def conv(
    layer: nn.Conv2d,
    x: Tensor,
    *,
    batch: int,
    convolution: str = "auto",
    zero_gradient_without_spike: bool = False,
) -> ConvOutput:
    """The convolution `layer` of images `x` [N, C, H, W], in one order of adding on every machine with the kernels.

    Dense and sparse give the same bits. Where the kernels do not support the layer, the input or the machine, it is
    torch's own.

    Args:
        layer: the convolution.
        x: its input.
        batch: samples; the N images are N / batch steps of them, one step after another.
        convolution: "dense" computes every product; "sparse" leaves out those with 0 where all inputs are 0 or 1;
            "auto" does so where it is faster, for each part of the forward and the backward pass by itself.
        zero_gradient_without_spike: whether the gradient of `x` comes to nothing where `x` is 0, and may be left out
            there, as 0.
    """
    operation = cpu_convolution.operation_of(layer)
    if operation is None or not cpu_convolution.supports(operation, x):
        return ConvOutput(nn.Conv2d.forward(layer, x), False)
    max_density = {"dense": 0.0, "sparse": 1.0}.get(convolution)
    if captured(x):
        return ConvOutput(operators.convolve(operation, x, batch, max_density, zero_gradient_without_spike), False)
    return ConvOutput(
        *cpu_convolution.convolve(
            layer,
            operation,
            x,
            batch=batch,
            max_density=max_density,
            zero_gradient_without_spike=zero_gradient_without_spike,
        )
    )


def linear(layer: nn.Linear, x: Tensor, *, batch: int) -> Tensor:
    """The linear `layer` of `x` [N, inputs], as a convolution of images of one pixel: [N, outputs].

    `batch` and what is not supported are as in `conv`.
    """
    operation = cpu_convolution.operation_of(layer)
    assert operation is not None
    images = x[:, :, None, None] if x.dim() == 2 else x
    if not cpu_convolution.supports(operation, images):
        return nn.Linear.forward(layer, x)
    if captured(x):
        return operators.convolve(operation, images, batch, 0.0, False)[:, :, 0, 0]
    return cpu_convolution.convolve(layer, operation, images, batch=batch, max_density=0.0).images[:, :, 0, 0]


def check_constants(threshold: float, decay: float) -> None:
    """Raise SettingsError unless 0 < threshold < infinity and 0 <= decay <= 1."""
    if not 0 < threshold < float("inf"):
        raise SettingsError(
            "unusable threshold",
            expected="a finite number > 0",
            got=repr(threshold),
            todo="0.5 is the paper's value.",
        )
    if not 0 <= decay <= 1:
        raise SettingsError(
            "unusable decay",
            expected="a number from 0 (forgets at once) to 1 (never leaks)",
            got=repr(decay),
            todo="0.9 is the default.",
        )
