"""AdamW that leaves units without gradient alone.

Adam moves a weight by its momentum for many steps after its last gradient. Under bpsa and bpsta a neuron that has
fallen silent has no gradient: the momentum that silenced it goes on and takes it further from its threshold.
"""

from typing import Any

import torch
from torch import Tensor

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps of a weight beside the number of its steps, which goes on."""

Kept = dict[Tensor, tuple[Tensor, list[Tensor]]]
"""Parameter -> which of its values are idle, and what it and its moments were before the step."""


def keep(optimiser: torch.optim.Optimizer) -> None:
    """Let every step of `optimiser`, an AdamW, leave idle units and their moments as they are, without weight decay.

    A unit is an output channel: a row of a weight, one value of a bias or of a norm's gain or shift. It is idle in a
    step in which its whole gradient is 0. The same bits for any number of threads: nothing is computed, only put back.
    """
    kept: Kept = {}

    def before(_optimiser: torch.optim.Optimizer, _args: Any, _options: Any) -> None:
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    moments = optimiser.state.get(parameter, {})
                    values = [moments.get(name, torch.zeros_like(parameter)) for name in MOMENTS]
                    kept[parameter] = _idle(parameter.grad), [each.detach().clone() for each in (parameter, *values)]

    @torch.no_grad()
    def after(_optimiser: torch.optim.Optimizer, _args: Any, _options: Any) -> None:
        for parameter, (idle, values) in kept.items():
            now = [parameter, *(optimiser.state[parameter][name] for name in MOMENTS)]
            for each, value in zip(now, values, strict=True):
                each.copy_(torch.where(idle, value, each))
        kept.clear()

    optimiser.register_step_pre_hook(before)
    optimiser.register_step_post_hook(after)


def _idle(gradient: Tensor) -> Tensor:
    """Which units have no gradient, [units, 1, ...], one axis for each of the gradient's."""
    nothing = (gradient == 0).reshape(len(gradient), -1).all(1)
    return nothing.view(-1, *[1] * (gradient.dim() - 1))
