"""Batch norm over time, three ways: folded (the default), threshold-dependent, and per step as published; or none.

Per step, training normalises with T different sets of statistics and evaluation with one running set for all steps.
The steps differ: at the first step every potential starts from 0, so that fewer neurons fire. Folded and
threshold-dependent norm are trained with the kind of statistics that they are evaluated with.
docs/rules-appendix.md has the measurements behind the default.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.distributed import division
from bpsta_cli.errors import SettingsError
from bpsta_cli.kernels import shared_norm
from bpsta_cli.kernels.block_spec import Statistics
from bpsta_cli.network.layers import Conv, Linear, is_constant, over_time
from bpsta_cli.portable_math import power


class NormValues(NamedTuple):
    """What a norm computes with.

    Attributes:
        gain: what the normalised values are multiplied with: [C].
        shift: what is then added: [C].
        stats: the statistics, [1, C] each, held constant; None for those of the input.
    """

    gain: Tensor
    shift: Tensor
    stats: Statistics | None


class FoldedNorm(nn.BatchNorm2d):
    """One set of statistics for all T * B images; one update of the running ones.

    For an input that is the same at every step the statistics of one step are those of all; only the
    factor that makes the running variance unbiased, n / (n - 1), counts T times as many values.

    Attributes:
        per_step: whether training takes a set of statistics from each time step.
    """

    per_step = False

    @property
    def gain(self) -> Tensor:
        """What the normalised values are multiplied with: [C]."""
        return self.weight

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] -> the same shape."""
        if self.supports(x):
            return self.normalise(x)
        divided = division.current() if self.training and self.has_statistics(x) else None
        return self._by_torch(x) if divided is None else self._of_all_processes(x, divided)

    def values(self, _x: Tensor) -> NormValues:
        """What `_x` is normalised with: in evaluation the running statistics."""
        stats = None if self.training else Statistics(*(value.double()[None] for value in self.running()))
        return NormValues(self.gain, self.bias, stats)

    def supports(self, x: Tensor) -> bool:
        """Whether the norm of `x` is computed by this package's own kernel, as `normalise` does, and not by torch."""
        return self.has_statistics(x) and kernels.supports_norm(x, self.weight)

    def has_statistics(self, x: Tensor) -> bool:
        """Whether `x` can be normalised: a single value a channel has no variance, and torch's batch norm says so."""
        return not self.training or len(x) * division.whole(x[0, :, 0].numel()) > 1

    def normalise(self, x: Tensor, *, relu: bool = False) -> Tensor:
        """The norm of an `x` that is supported, with a ReLU behind it or not."""
        steps = len(x)
        if constant := is_constant(x):
            x = x[:1]
        gain, shift, given = self.values(x)
        y, stats = kernels.norm(
            x,
            gain,
            shift,
            eps=self.eps,
            stats=given,
            per_step=self.per_step and len(x) > 1,
            relu=relu,
        )
        if given is None:
            self.track(*stats, rows=division.whole(x[0, :, 0].numel()), steps=steps)
        return kernels.repeated(y[0], steps) if constant else y

    def _of_all_processes(self, x: Tensor, divided: division.Division) -> Tensor:
        """The norm by the statistics of a batch that several processes compute, in torch's operations."""
        steps = len(x)
        if constant := is_constant(x):
            x = x[:1]
        per_step = self.per_step and len(x) > 1
        y, stats = shared_norm.norm(x, self.gain, self.bias, divided, eps=self.eps, per_step=per_step)
        self.track(*stats, rows=divided.whole(x[0, :, 0].numel()), steps=steps)
        return kernels.repeated(y[0], steps) if constant else y

    def _by_torch(self, x: Tensor) -> Tensor:
        if not self.training or not is_constant(x) or x.shape[0] == 1:
            return over_time(lambda folded: self._normalise(folded, *self.running()), x)
        mean, var = torch.zeros_like(self.weight), torch.zeros_like(self.weight)
        y = self._normalise(x[0], mean, var, momentum=1.0)
        n = x[0].numel() // x.shape[2]
        # a new tensor: the gradient needs var as it is
        self.track(mean[None], var[None] * ((n - 1) / n), rows=n, steps=x.shape[0])
        return kernels.repeated(y, x.shape[0])

    def running(self) -> tuple[Tensor, Tensor]:
        """The running mean and variance: [C] each."""
        return self.get_buffer("running_mean"), self.get_buffer("running_var")

    def track(self, mean: Tensor, var: Tensor, *, rows: int, steps: int) -> None:
        """Update the running statistics with those of a pass.

        Args:
            mean: [1, C], or [T, C] for one set of each step.
            var: the biased variance, in the same shape.
            rows: values a channel in one step.
            steps: T.
        """
        self._update_running(mean[0], var[0], total=rows * steps, momentum=self._momentum)

    def _update_running(self, mean: Tensor, var: Tensor, *, total: int, momentum: float) -> None:
        unbiased = total / (total - 1)
        kernels.track_statistics(self.running(), Statistics(mean, var), unbiased=unbiased, momentum=momentum)

    @property
    def _momentum(self) -> float:
        return 0.1 if self.momentum is None else self.momentum

    def _normalise(self, x: Tensor, mean: Tensor | None, var: Tensor | None, momentum: float | None = None) -> Tensor:
        momentum = self._momentum if momentum is None else momentum
        return F.batch_norm(x, mean, var, self.gain, self.bias, self.training, momentum, self.eps)


class PerStepNorm(FoldedNorm):
    """Statistics of each time step by itself, T updates of the running ones: what the published code does."""

    per_step = True

    def _by_torch(self, x: Tensor) -> Tensor:
        if not self.training:
            return super()._by_torch(x)
        if is_constant(x):
            y = self._normalise(x[0], *self.running(), self._momentum_of(x.shape[0]))
            return kernels.repeated(y, x.shape[0])
        return torch.stack([self._normalise(step, *self.running()) for step in x])

    def track(self, mean: Tensor, var: Tensor, *, rows: int, steps: int) -> None:
        """As in `FoldedNorm`, an update a step; one set stands for steps that are all the same."""
        momentum = self._momentum_of(steps // len(mean))
        for step_mean, step_var in zip(mean, var, strict=True):
            self._update_running(step_mean, step_var, total=rows, momentum=momentum)

    def _momentum_of(self, updates: int) -> float:
        """T updates r <- r + m (s - r) with the same s are one with momentum 1 - (1 - m)^T."""
        return 1 - power(1 - self._momentum, updates)


class ThresholdNorm(FoldedNorm):
    """tdBN, Zheng et al. 2021 (arXiv:2011.05280), Eq. 7-8: folded, and scaled by the firing threshold.

    Args:
        channels: C.
        threshold: V_th. The paper's further factor alpha, 1 but for 1/sqrt(2) where two branches are added
            in a residual block, is 1 everywhere here.
    """

    def __init__(self, channels: int, threshold: float) -> None:
        super().__init__(channels)
        self.threshold = threshold

    @property
    def gain(self) -> Tensor:
        """What the normalised values are multiplied with: [C]."""
        return self.weight * self.threshold


class NoNorm(FoldedNorm):
    """The input as it is: nothing is trained or kept, and the convolution before it has a bias instead of a shift.

    It stands where a norm would, so that a block is one operation without a norm too: its mean is 0, its variance and
    gain are 1, which changes no bit.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=0.0, affine=False, track_running_stats=False)

    def forward(self, x: Tensor) -> Tensor:
        """`x` itself."""
        return x

    def supports(self, _x: Tensor) -> bool:
        """No kernel is needed."""
        return False

    def values(self, x: Tensor) -> NormValues:
        """Constants on the device of `x`."""
        zeros, ones = x.new_zeros(self.num_features), x.new_ones(self.num_features)
        return NormValues(ones, zeros, Statistics(zeros.double()[None], ones.double()[None]))


def unnormalised(network: nn.Module) -> set[nn.Module]:
    """The layers with synapses that no norm follows: the linear ones, and the convolutions where the norm is none."""
    kinds: tuple[type[nn.Module], ...] = (Linear,)
    if any(isinstance(layer, NoNorm) for layer in network.modules()):
        kinds = (Linear, Conv)
    return {layer for layer in network.modules() if isinstance(layer, kinds)}


def make_norm(name: str, channels: int, *, threshold: float) -> nn.Module:
    """The normalisation called `name`: "per-step", "folded", "tdbn" or "none".

    Raises:
        SettingsError: another name.
    """
    if name == "per-step":
        return PerStepNorm(channels)
    if name == "folded":
        return FoldedNorm(channels)
    if name == "tdbn":
        return ThresholdNorm(channels, threshold)
    if name == "none":
        return NoNorm(channels)
    raise SettingsError(
        "unknown normalisation",
        expected="per-step, folded, tdbn or none",
        got=repr(name),
        todo="Correct the setting norm.",
    )
