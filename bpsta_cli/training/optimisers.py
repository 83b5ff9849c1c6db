"""AdamW with a learning rate for each layer that suits its width; the precision of a step."""

import torch

from bpsta_cli.config import TrainingSettings
from bpsta_cli.errors import TrainingError
from bpsta_cli.network import Network
from bpsta_cli.network.layers import Linear

BASE_WIDTH = 64
"""Inputs of a linear layer up to which it learns at the full rate."""
STATE = ("exp_avg", "exp_avg_sq", "step")
"""What AdamW keeps of every weight: two averages of the weight's shape, and how many steps it took."""


def make(network: Network, settings: TrainingSettings) -> torch.optim.AdamW:
    """AdamW with decoupled weight decay; every group has a `scale` that `set_rate` multiplies its rate with.

    Adam changes each weight by about the learning rate, whatever the gradient: a neuron with n inputs moves by n
    times as much. The batch norm after a convolution divides that out again. A linear layer here has none: a few
    steps at a rate that suits the convolutions move its potentials far above the threshold or far below it, and
    from silence bpsa and bpsta have no gradient that leads back. With `lr_scaling` "fan-in" a linear layer learns at
    lr * min(1, `BASE_WIDTH` / n), the rule of Yang et al. 2022 (arXiv:2203.03466, Table 3) for Adam.
    """
    scales: dict[float, list[torch.nn.Parameter]] = {}
    for layer in network.modules():
        scale = 1.0
        if isinstance(layer, Linear) and settings.lr_scaling == "fan-in":
            scale = min(1.0, BASE_WIDTH / layer.in_features)
        scales.setdefault(scale, []).extend(layer.parameters(recurse=False))
    groups = [{"params": parameters, "scale": scale} for scale, parameters in scales.items()]
    # one kernel for all weights; on a CPU its last digits would differ from those of the results in the repository
    fused = True if next(network.parameters()).is_cuda else None
    return torch.optim.AdamW(groups, lr=settings.lr, weight_decay=settings.weight_decay, fused=fused)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["scale"]


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
