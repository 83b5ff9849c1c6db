"""Training losses on votes [T, B, classes]; on any CPU they and their gradients have the same bits."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from bpsta_cli import kernels
from bpsta_cli.errors import SettingsError
from bpsta_cli.portable_math import exp, log


class Rates(NamedTuple):
    """What the one-sided loss asks of mean votes.

    Attributes:
        right: what is enough for the right class.
        wrong: what is allowed to the other classes.
    """

    right: float = 0.9
    wrong: float = 0.05


RATES = Rates()
"""Those of a run that says nothing else."""


def loss(name: str, votes: Tensor, labels: Tensor, *, label_smoothing: float = 0.0, rates: Rates = RATES) -> Tensor:
    """The mean loss of a batch.

    - "mse": Eq. 5 of the paper, the squared distance of the mean vote from the one-hot target, here
      averaged over classes and samples.
    - "cross-entropy": softmax cross-entropy of the mean vote.
    - "tet": the mean over steps of each step's cross-entropy (Deng et al. 2022, arXiv:2202.11946, Eq. 9;
      its regulariser towards the threshold is left out).
    - "one-sided": the squared distance of the mean vote from what `rates` allow, averaged as in "mse": nothing where
      the right class has at least `rates.right` and a wrong one at most `rates.wrong`. A neuron that fires often
      enough, or seldom enough, is not told to fire more or less.

    Args:
        name: which.
        votes: [T, B, classes].
        labels: [B], class numbers.
        label_smoothing: share of the target spread evenly over all classes; no matter to "one-sided".
        rates: of "one-sided".

    Raises:
        SettingsError: unknown name.
    """
    if name == "mse":
        return _mean_square(kernels.mean_over(votes, 0), _targets(labels, votes, label_smoothing))
    if name == "cross-entropy":
        return _cross_entropy(kernels.mean_over(votes, 0), labels, label_smoothing)
    if name == "tet":
        return _cross_entropy(votes.flatten(0, 1), labels.repeat(votes.shape[0]), label_smoothing)
    if name == "one-sided":
        mean = kernels.mean_over(votes, 0)
        return _mean_square(mean, _nearest_allowed(mean.detach(), labels, rates))
    raise SettingsError(
        "unknown loss",
        expected="mse, cross-entropy, tet or one-sided",
        got=repr(name),
        todo="Correct the setting loss.",
    )


def _nearest_allowed(votes: Tensor, labels: Tensor, rates: Rates) -> Tensor:
    """The allowed votes [B, classes] that are nearest to the mean votes: these themselves where they are allowed."""
    right = F.one_hot(labels, votes.shape[-1]).bool()
    return torch.where(right, votes.clamp(min=rates.right), votes.clamp(max=rates.wrong))


def _targets(labels: Tensor, like: Tensor, label_smoothing: float) -> Tensor:
    """One-hot targets [B, classes], smoothed, in the dtype of the votes `like` [..., classes]."""
    classes = like.shape[-1]
    return F.one_hot(labels, classes).to(like.dtype) * (1 - label_smoothing) + label_smoothing / classes


def _mean_square(votes: Tensor, target: Tensor) -> Tensor:
    if votes.device.type != "cpu":
        return F.mse_loss(votes, target)
    result: Tensor = _MeanSquare.apply(votes, target)
    return result


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, votes: Tensor, target: Tensor) -> Tensor:
        difference = votes - target
        ctx.save_for_backward(difference)
        return (kernels.total(difference, squared=True) / difference.numel()).to(votes.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return difference * (grad * (2 / difference.numel())), None


def _cross_entropy(scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
    """Softmax cross-entropy of scores [N, classes], the mean over N."""
    if scores.device.type != "cpu":
        return F.cross_entropy(scores, labels, label_smoothing=label_smoothing)
    result: Tensor = _CrossEntropy.apply(scores, labels, label_smoothing)
    return result


class _CrossEntropy(torch.autograd.Function):
    """In float64, with exp and log of additions and products alone; sums over classes in the order of the classes."""

    @staticmethod
    def forward(ctx: Any, scores: Tensor, labels: Tensor, label_smoothing: float) -> Tensor:
        values = scores.detach().double()
        values = values - values.amax(1, keepdim=True)  # so that the largest exponential is 1
        powers = torch.from_numpy(exp(values.numpy()))
        normaliser = kernels.sum_steps(powers.T).unsqueeze(1)
        target = _targets(labels, values, label_smoothing)
        # the target's mean of log softmax, as log(normaliser) - sum(target x value): the target adds up to 1
        expected = kernels.sum_steps((target * values).T)
        entropies = torch.from_numpy(log(normaliser[:, 0].numpy())) - expected
        ctx.save_for_backward(powers / normaliser - target)
        ctx.dtype = scores.dtype
        return (kernels.total(entropies) / len(scores)).to(scores.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (excess,) = ctx.saved_tensors
        return (excess * (grad.double() / len(excess))).to(ctx.dtype), None, None
