"""Learning rules: which gradient paths exist at a spike. Loads no torch.

Every rule shares one forward pass (``bpsta_cli.kernels``), with u[t] the membrane potential before the
spike, o[t] the spike and v[t] the potential after the reset:

    u[t] = decay * v[t-1] + x[t],    o[t] = 1 if u[t] >= threshold else 0,    v[t] = u[t] * (1 - o[t])

and gives two partial derivatives, ``spike_gradient`` do[t]/du[t] and ``reset_gradient`` dv[t]/du[t], from
which the backward pass follows:

    dL/du[t] = dL/do[t] * do[t]/du[t] + decay * dL/du[t+1] * dv[t]/du[t]

Sources: Shen, Zhao and Zeng, Patterns 3(6), 2022, doi:10.1016/j.patter.2022.100522 (`bpsa`, `bpsta`);
Wu, Deng, Li, Zhu and Shi, Frontiers in Neuroscience 12:331, 2018, doi:10.3389/fnins.2018.00331 (`stbp`).
"""

from __future__ import annotations

import functools
import importlib.util
import inspect
import math
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar

from bpsta_cli.errors import SettingsError, did_you_mean
from bpsta_cli.surrogates import SURROGATES

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Rule(ABC):
    """What a spike passes back. Subclass, name, `register`; see docs/own-rule.md.

    The tensors of one step arrive in the dtype of the state (float64 for float64 inputs, else float32), all
    of one shape; they belong to the caller and must not be written to.
    """

    name: ClassVar[str]

    @abstractmethod
    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:
        """do[t]/du[t] (spikes per unit of potential), in the shape of `u`.

        Args:
            u: membrane potential before the spike.
            o: spike, 0 or 1.
            threshold: potential at and above which the neuron fires, > 0.
        """

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:  # noqa: ARG002
        """dv[t]/du[t] (no unit), in the shape of `u`; here 1 - o[t]: the reset counts as a constant mask.

        Args:
            u: membrane potential before the spike.
            o: spike, 0 or 1.
            spike_gradient: do[t]/du[t], what this rule's `spike_gradient` gave for this step.
        """
        return 1 - o


TWIN = "ann"
"""The method that is no rule: the same structure with the neurons left out, the network's ReLU twin."""
_rules: dict[str, type[Rule]] = {}
R = TypeVar("R", bound=Rule)


def register(rule: type[R]) -> type[R]:
    """Class decorator: make `rule` known to `make` under its `name`.

    Raises:
        SettingsError: the class has no name, lacks `spike_gradient`, or takes a name that is in use.
    """
    name = vars(rule).get("name")  # its own: one that is inherited names the parent
    if not isinstance(name, str) or not name or name in _rules:
        raise SettingsError(
            f"unusable name of rule {rule.__name__}",
            expected=f"a class attribute `name`, a word other than {', '.join(names())}",
            got=repr(name),
            todo='Write `name: ClassVar[str] = "..."` in the class.',
        )
    if inspect.isabstract(rule):
        raise SettingsError(
            f'unfinished rule "{name}"',
            expected="a method spike_gradient(self, u, o, threshold)",
            got=f"a class {rule.__name__} without it",
            todo="Write the method; docs/own-rule.md has an example.",
        )
    _rules[name] = rule
    return rule


def names() -> tuple[str, ...]:
    """Names of all registered rules, in the order of their registration."""
    return tuple(_rules)


def make(
    name: str,
    *,
    alpha: float = 0.2,
    surrogate: str = "rectangular",
    surrogate_width: float = 1.0,
    detach_reset: bool = False,
) -> Rule:
    """Build a rule from its name, or from a Python file that registers one.

    A rule receives those of the settings that its constructor names; the others do not concern it, so that
    one set of settings serves a whole grid of rules.

    Args:
        name: one of `names()`, or a path that ends in ".py".
        alpha: weight of the temporal path across a spike (`bpsta`), >= 0.
        surrogate: one of `surrogates.SURROGATES` (`stbp`).
        surrogate_width: the curve's `a`, > 0 (`stbp`).
        detach_reset: leave the reset out of the gradient (`stbp`).

    Raises:
        SettingsError: unknown name, unusable file or setting.
    """
    if name.endswith(".py"):
        name = _register_file(Path(name).resolve())
    if name not in _rules:
        raise _unknown("rule", name, names(), also=", or the path of a .py file that registers one")
    settings = {
        "alpha": alpha,
        "surrogate": surrogate,
        "surrogate_width": surrogate_width,
        "detach_reset": detach_reset,
    }
    wanted = inspect.signature(_rules[name]).parameters
    return _rules[name](**{key: value for key, value in settings.items() if key in wanted})


@register
@dataclass(frozen=True)
class STBP(Rule):
    """Spatio-temporal backpropagation, the baseline (Wu et al. 2018).

    do/du = h(u - threshold), one of the four curves of Eq. 24-27, and dv/du = (1 - o) - u h(u - threshold),
    the derivative of v = u (1 - o) with do/du = h; with `detach_reset` the second term is left out.
    """

    name: ClassVar[str] = "stbp"
    surrogate: str = "rectangular"
    surrogate_width: float = 1.0
    detach_reset: bool = False

    def __post_init__(self) -> None:
        if self.surrogate not in SURROGATES:
            raise _unknown("surrogate", self.surrogate, tuple(SURROGATES))
        if not 0 < self.surrogate_width < math.inf:
            raise SettingsError(
                "unusable surrogate_width",
                expected="a finite number > 0",
                got=repr(self.surrogate_width),
                todo="1.0 is the width of the published baseline.",
            )

    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:  # noqa: ARG002
        """h(u - threshold)."""
        return SURROGATES[self.surrogate](self.surrogate_width).derivative(u - threshold)

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:
        """(1 - o) - u h(u - threshold); with `detach_reset`, 1 - o."""
        return 1 - o if self.detach_reset else (1 - o).addcmul_(u, spike_gradient, value=-1)


@register
@dataclass(frozen=True)
class BPSA(Rule):
    """Backpropagation adjusted in space (Shen et al. 2022, Eq. 9): do/du = o/u and dv/du = 1 - o.

    Only a neuron that fired passes error to its input of the same step, and none passes a spike in time.
    """

    name: ClassVar[str] = "bpsa"

    def spike_gradient(self, u: Tensor, o: Tensor, threshold: float) -> Tensor:
        """o/u (Eq. 9): 1/u where the neuron fired, exactly 0 elsewhere, u = 0 included."""
        # Where o is 1, u >= threshold and the clamp changes nothing; where o is 0 it keeps 0/0 out.
        return u.clamp(min=threshold).reciprocal_().mul_(o)


@register
@dataclass(frozen=True)
class BPSTA(BPSA):
    """Backpropagation adjusted in space and time (Shen et al. 2022, Eq. 9 and 10).

    do/du = o/u and dv/du = (1 - o) + alpha o/u: error crosses a spike in time, weighted by `alpha`.
    """

    name: ClassVar[str] = "bpsta"
    alpha: float = 0.2

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < math.inf:
            raise SettingsError(
                "unusable alpha",
                expected="a finite number >= 0",
                got=repr(self.alpha),
                todo="0.2 is the paper's value; 0 makes `bpsta` the same as `bpsa`.",
            )

    def reset_gradient(self, u: Tensor, o: Tensor, spike_gradient: Tensor) -> Tensor:  # noqa: ARG002
        """(1 - o) + alpha o/u (Eq. 10)."""
        return (1 - o).add_(spike_gradient, alpha=self.alpha)


def zero_gradient_without_spike(rule: Rule) -> bool:
    """Whether do/du is surely 0 where o = 0, so that dL/do need not be known there: `bpsa` and `bpsta` themselves."""
    return type(rule) in (BPSA, BPSTA)  # a subclass may do anything


@functools.cache
def _register_file(path: Path) -> str:
    """Run the file and return the name of the one rule it registers; once for each path."""
    if not path.is_file():
        raise SettingsError(
            "missing rule file",
            expected="a Python file",
            got=f"no file at {path}",
            todo=f"Check the path, or take one of {', '.join(names())}.",
        )
    spec = importlib.util.spec_from_file_location(str(path), path)
    assert spec is not None  # a path that ends in .py always has a loader
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses looks its module up while the class is being made
    before, failure = names(), None
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        failure = error
    new = [name for name in names() if name not in before]
    if failure is None and len(new) == 1:
        return new[0]
    for name in new:  # a file that failed leaves nothing behind, so that it can be mended and loaded again
        del _rules[name]
    raise SettingsError(
        f"unusable rule file {path.name}",
        expected="a Python file that registers exactly one rule",
        got=f"{type(failure).__name__}: {failure}" if failure else f"{len(new)} rules registered",
        todo="Put `@rules.register` on one class; docs/own-rule.md has an example.",
    ) from failure


def _unknown(what: str, got: str, known: tuple[str, ...], *, also: str = "") -> SettingsError:
    todo = did_you_mean(got, known, otherwise="Take one of these.")
    return SettingsError(f"unknown {what}", expected=f"one of {', '.join(known)}{also}", got=f'"{got}"', todo=todo)
