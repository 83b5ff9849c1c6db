"""Training losses on votes [T, B, classes]."""

import torch.nn.functional as F
from torch import Tensor

from bpsta_cli.errors import SettingsError


def loss(name: str, votes: Tensor, labels: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The mean loss of a batch.

    - "mse": Eq. 5 of the paper, the squared distance of the mean vote from the one-hot target, here
      averaged over classes and samples.
    - "cross-entropy": softmax cross-entropy of the mean vote.
    - "tet": the mean over steps of each step's cross-entropy (Deng et al. 2022, arXiv:2202.11946, Eq. 9;
      its regulariser towards the threshold is left out).

    Args:
        name: which.
        votes: [T, B, classes].
        labels: [B], class numbers.
        label_smoothing: share of the target spread evenly over all classes.

    Raises:
        SettingsError: unknown name.
    """
    if name == "mse":
        classes = votes.shape[-1]
        target = F.one_hot(labels, classes).to(votes.dtype)
        target = target * (1 - label_smoothing) + label_smoothing / classes
        return F.mse_loss(votes.mean(0), target)
    if name == "cross-entropy":
        return F.cross_entropy(votes.mean(0), labels, label_smoothing=label_smoothing)
    if name == "tet":
        repeated = labels.repeat(votes.shape[0])
        return F.cross_entropy(votes.flatten(0, 1), repeated, label_smoothing=label_smoothing)
    raise SettingsError(
        "unknown loss", expected="mse, cross-entropy or tet", got=repr(name), todo="Correct the setting loss."
    )
