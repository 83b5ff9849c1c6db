"""AdamW with a learning rate for each layer that suits its width; the precision of a step."""

from collections.abc import Iterable
from typing import Any

import torch

from bpsta_cli import kernels
from bpsta_cli.config import TrainingSettings
from bpsta_cli.errors import TrainingError
from bpsta_cli.kernels.square_root import square_root
from bpsta_cli.network import Network
from bpsta_cli.network.norms import FoldedNorm, unnormalised
from bpsta_cli.training import idle_units
from bpsta_cli.training.adamw import AdamW

BASE_WIDTH = 64
"""Inputs of a neuron up to which a layer without a norm learns at the full rate."""
CLIP_EPS = 1e-6
"""Added to the norm that gradients are divided by, as torch does, so that a norm of 0 divides nothing by 0."""
STATE = ("exp_avg", "exp_avg_sq", "step")
"""What AdamW keeps of every weight: two averages of the weight's shape, and how many steps it took."""


def make(network: Network, settings: TrainingSettings) -> torch.optim.Optimizer:
    """AdamW with decoupled weight decay; every group has a `scale` that `set_rate` multiplies its rate with.

    Adam changes each weight by about the learning rate, whatever the gradient: a neuron with n inputs moves by n
    times as much. The batch norm after a convolution divides that out again. A linear layer here has none, nor has a
    convolution with norm "none": a few steps at a rate that suits a norm move their potentials far above the threshold
    or far below it, and from silence bpsa and bpsta have no gradient that leads back. With `lr_scaling` "fan-in" a
    layer without a norm learns at lr * min(1, `BASE_WIDTH` / n), the rule of Yang et al. 2022 (arXiv:2203.03466,
    Table 3) for Adam.
    """
    alike: dict[tuple[float, float], list[torch.nn.Parameter]] = {}
    without_norm = unnormalised(network) if settings.lr_scaling == "fan-in" else set()
    for layer in network.modules():
        scale, decay = 1.0, settings.weight_decay
        if layer in without_norm:
            scale = min(1.0, BASE_WIDTH / layer.get_parameter("weight")[0].numel())
        if isinstance(layer, FoldedNorm) and not settings.norm_weight_decay:
            decay = 0.0
        alike.setdefault((scale, decay), []).extend(layer.parameters(recurse=False))
    groups = [
        {"params": parameters, "scale": scale, "weight_decay": decay} for (scale, decay), parameters in alike.items()
    ]
    optimiser = _adamw(groups, settings.lr, next(network.parameters()).device.type)
    if not settings.idle_momentum:
        idle_units.keep(optimiser)
    return optimiser


def _adamw(groups: list[dict[str, Any]], lr: float, device: str) -> torch.optim.Optimizer:
    if device == "cpu":
        return AdamW(groups, lr=lr)
    # fused: one kernel for all weights
    return torch.optim.AdamW(groups, lr=lr, fused=device == "cuda" or None)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


@torch.no_grad()
def clip_gradients(parameters: Iterable[torch.nn.Parameter], most: float) -> None:
    """Scale all gradients so that their common norm is at most `most` (Pascanu et al. 2013, arXiv:1211.5063).

    They are left as they are where it is below; those that are not finite become NaN.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    squared = kernels.sum_steps(kernels.totals(gradients, squared=True))
    factor = (most / (square_root(squared) + CLIP_EPS)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor.to(gradient.dtype))


def autocast(settings: TrainingSettings, device: torch.device) -> torch.autocast:
    """A context that computes in the settings' precision; weights, statistics and votes stay float32."""
    return torch.autocast(
        device.type, dtype=getattr(torch, settings.precision), enabled=settings.precision != "float32"
    )


def scaler(settings: TrainingSettings, device: torch.device) -> torch.amp.GradScaler:
    """Keeps float16's gradients in its range (Micikevicius et al. 2018, arXiv:1710.03740); idle for the others."""
    return torch.amp.GradScaler(device.type, enabled=settings.precision == "float16")


def check_scale(scaler: torch.amp.GradScaler) -> None:
    """Raise an error where gradients overflow at every loss scale.

    Raises:
        TrainingError: the optimiser skips every step.
    """
    if scaler.is_enabled() and scaler.get_scale() < 1:
        raise TrainingError(
            "training diverged",
            expected="gradients in the range of float16",
            got="overflow at every scale",
            todo="The last good epoch is kept. Try --precision bfloat16 or float32, or a lower learning rate.",
        )
