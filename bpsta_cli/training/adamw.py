"""AdamW whose bits do not depend on the machine, for parameters on the CPU."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from bpsta_cli.kernels.cpu import adamw
from bpsta_cli.portable_math import power


class AdamW(torch.optim.Optimizer):
    """Adam with decoupled weight decay: Loshchilov and Hutter 2019 (arXiv:1711.05101), Algorithm 2.

    The state of a parameter has torch's names (step, exp_avg, exp_avg_sq), so that a state of `torch.optim.AdamW` can
    be loaded. Powers are products: `pow` of a C library may differ in the last digit.

    Args:
        groups: of parameters on the CPU, as `torch.optim.Optimizer` takes them.
        lr: learning rate.
        betas: shares of the running means of the gradient and of its square that are kept in a step.
        eps: what is added to the denominator.
        weight_decay: share of a weight that is taken off in a step, over the rate.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    # torch wraps these for its compiler, and the first call of one would load all of it: seconds that no run here needs
    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)
    state_dict = inspect.unwrap(torch.optim.Optimizer.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Optimizer.load_state_dict)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Change every parameter that has a gradient; returns what `closure`, called first, does."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            alike: dict[tuple[int, torch.dtype], list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike.setdefault((self._next_step(parameter), parameter.dtype), []).append(parameter)
            for (step, _), parameters in alike.items():
                self._update(group, parameters, step)
        return loss

    def _next_step(self, parameter: Tensor) -> int:
        """The number of the parameter's step, from 1; before the first its state is made."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())  # a tensor, as torch has it
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        return int(state["step"])

    def _update(self, group: dict[str, Any], parameters: list[Tensor], step: int) -> None:
        (beta1, beta2), lr = group["betas"], group["lr"]
        constants = adamw.Constants(
            decay=1 - lr * group["weight_decay"],
            beta1=beta1,
            rest1=1 - beta1,
            beta2=beta2,
            rest2=1 - beta2,
            root=math.sqrt(1 - power(beta2, step)),
            eps=group["eps"],
            step_size=lr / (1 - power(beta1, step)),
        )
        states = [self.state[parameter] for parameter in parameters]
        for state, parameter in zip(states, parameters, strict=True):
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = _laid_out_as(parameter, state[name])
        gradients = [_laid_out_as(each, each.grad) for each in parameters if each.grad is not None]
        means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        adamw.update(parameters, gradients, means, squares, constants)


def _laid_out_as(parameter: Tensor, x: Tensor) -> Tensor:
    """`x` in the order in memory that `parameter` has; itself where it has that already."""
    return x if x.stride() == parameter.stride() else torch.empty_like(parameter).copy_(x)
