"""Votes and gradients of every variant against the float64 reference, before anything is timed.

Two comparisons, each in training mode with one backward pass and then in evaluation mode, whose statistics the
training step has moved:

- The structure with at most `CHANNELS` filters a layer, on inputs for which no potential of the reference comes
  within `CLEARANCE` of where a spike, a ReLU or a surrogate turns over. Rounding can then turn nothing over, and votes
  and gradients must agree to rounding.
- Every convolution of the network itself, with the norm, neurons and pooling after it and an output layer, on its
  own. Of its millions of neurons some do turn over by rounding, with no later layers that make more of it: votes and
  gradients must agree on the whole for one of `ATTEMPTS` inputs. (In the whole network one neuron of the first
  layer that turns over can leave nothing of the last layer's spikes as they were.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.comparisons import Comparison, build, clearance, convolutions, draw, thinned
from benchmarks.settings import Settings
from benchmarks.subjects import Project, Subject, Variant
from benchmarks.weights import calibrate
from bpsta_cli.errors import BpstaError
from bpsta_cli.kernels import lif
from bpsta_cli.network import Network, losses
from bpsta_cli.rules import make

BATCH, STEPS = 2, 3
CLEARANCE = 2e-6
"""Units of potential; single precision is off by some 1e-7 here."""
DRAWS = 200
"""Inputs that are tried until one keeps the clearance."""
ATTEMPTS = 3
EXACT, ON_THE_WHOLE = 1e-3, 0.05
"""Largest deviation of the two comparisons, as a share (`Outcome.deviation`)."""


class CheckError(BpstaError):
    """No comparison that means something could be set up."""


@dataclass(frozen=True)
class Outcome:
    """What a variant computed in a training step, and then in evaluation.

    Attributes:
        votes: [T, B, classes].
        gradients: of the mean squared error, by parameter.
        evaluated: votes in evaluation mode.
    """

    votes: Tensor
    gradients: dict[str, Tensor]
    evaluated: Tensor

    def deviation(self, other: Outcome, *, each: bool) -> float:
        """The largest share by which `other` is off: of votes, and of gradients, in the Euclidean norm.

        Args:
            other: of the same network and input.
            each: every parameter's gradient by itself, against at least a hundredth of the largest one's; or all
                of them as one vector.
        """
        found = [_off(self.votes, other.votes), _off(self.evaluated, other.evaluated)]
        if each:
            floor = 0.01 * max(float(gradient.norm()) for gradient in self.gradients.values())
            found += [_off(gradient, other.gradients[name], floor) for name, gradient in self.gradients.items()]
        else:
            found.append(_off(_joined(self.gradients), _joined(other.gradients)))
        return max(found)


def _off(expected: Tensor, got: Tensor, floor: float = 0.0) -> float:
    off = float((expected.double() - got.double()).norm()) / max(float(expected.double().norm()), floor)
    return off if math.isfinite(off) else float("inf")


def _joined(gradients: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([gradients[name].flatten() for name in sorted(gradients)])


Drawn = tuple[Network, Tensor, Tensor]
"""Network, input and labels."""


class Checker:
    """Holds networks, inputs and references, which several variants share."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self._cases: dict[tuple[str, Comparison], Drawn] = {}
        self._outcomes: dict[str, Outcome] = {}

    def mismatch(self, variant: Variant) -> str:
        """Why a variant's times mean nothing, in one clause; empty when it computes the same."""
        if not variant.checked:
            return ""
        for kind in self.settings.inputs:
            varying = kind == "varying"
            whole = Comparison(varying, thinned(self.settings), exact=True)
            cases = [[whole]] + [
                [Comparison(varying, part, exact=False, attempt=attempt) for attempt in range(ATTEMPTS)]
                for part in convolutions(self.settings)
            ]
            for attempts in cases:
                tolerance, off = EXACT if attempts[0].exact else ON_THE_WHOLE, float("inf")
                for comparison in attempts:
                    off = min(off, self._deviation(variant, comparison))
                    if off <= tolerance:
                        break
                else:
                    network = attempts[0].settings.network
                    return f"votes or gradients are off by {off:.1e} of their norm ({kind} input, {network})"
        return ""

    def _deviation(self, variant: Variant, comparison: Comparison) -> float:
        network, x, labels = self._drawn_once(variant.reference.get("norm", "folded"), comparison)
        key = repr((sorted(variant.reference.items()), comparison))
        if key not in self._outcomes:
            reference = self._build(comparison, backend="reference", **variant.reference).double()
            reference.load_state_dict(network.state_dict())
            self._outcomes[key] = outcome(Project(reference), x.double().contiguous(), labels)
            gradients = _joined(self._outcomes[key].gradients)
            if not (gradients.isfinite().all() and gradients.count_nonzero()):
                raise _meaningless("gradients that are not finite, or all 0")
        subject = variant.make(network).to(self.device)
        return self._outcomes[key].deviation(outcome(subject, subject.prepare(x), labels), each=comparison.exact)

    def _drawn_once(self, norm: str, comparison: Comparison) -> Drawn:
        if (norm, comparison) not in self._cases:
            self._cases[norm, comparison] = self._drawn(norm, comparison)
        return self._cases[norm, comparison]

    def _drawn(self, norm: str, comparison: Comparison) -> Drawn:
        """Weights, and an input that keeps the clearance where the comparison is exact."""
        steps = STEPS if comparison.exact else min(self.settings.T)
        torch.manual_seed(comparison.attempt)
        network = self._build(comparison, norm=norm)
        x = draw(comparison.settings, steps, BATCH, varying=comparison.varying, device=self.device)
        labels = torch.randint(self.settings.classes, (BATCH,), device=self.device)
        calibrate(network, x)
        if not comparison.exact:
            return network, x, labels
        for _ in range(DRAWS):
            reference = self._build(comparison, norm=norm, backend="reference").double()
            reference.load_state_dict(network.state_dict())
            if clearance(reference, x.double().contiguous()) > CLEARANCE:
                return network, x, labels
            x = draw(comparison.settings, steps, BATCH, varying=comparison.varying, device=self.device)
        raise _meaningless(f"none of {DRAWS} inputs whose potentials all keep {CLEARANCE:.0e} from an edge")

    def _build(self, comparison: Comparison, **options: Any) -> Network:
        return build(comparison.settings, **options).to(self.device)


def outcome(subject: Subject, x: Tensor, labels: Tensor) -> Outcome:
    """One training step, and an evaluation after it."""
    tf32 = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        subject.train()
        votes = subject(x)
        losses.loss("mse", votes, labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            evaluated = subject.eval()(x)
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32
    gradients = {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in subject.layers.named_parameters()
    }
    return Outcome(votes.detach(), gradients, evaluated)


def neuron_mismatch(run: Callable[[Tensor], Tensor], reference: Mapping[str, Any], device: torch.device) -> str:
    """Why a neuron's times mean nothing, in one clause; empty when its spikes and gradients are the reference's.

    Neurons that come near an edge are left out: none sees another.
    """
    torch.manual_seed(0)
    x = torch.randn(8, 4096) * 0.5
    grad = torch.randn_like(x)
    u, v, kept = x[0], torch.zeros_like(x[0]), torch.ones(x.shape[1], dtype=torch.bool)
    for step in x.double():
        u = 0.9 * v + step
        for edge in (0.0, 0.5, 1.0):
            kept &= (u - edge).abs() > 10 * CLEARANCE
        v = u * (u < 0.5)
    exact = x.double().requires_grad_()
    expected = lif(exact, rule=make(**reference), backend="reference")
    (expected_grad,) = torch.autograd.grad(expected, exact, grad.double())
    given = x.to(device).requires_grad_()
    got = run(given)
    (got_grad,) = torch.autograd.grad(got, given, grad.to(device))
    off = max(
        _off(expected[:, kept].detach(), got[:, kept].detach().cpu()),
        _off(expected_grad[:, kept], got_grad[:, kept].cpu()),
    )
    return "" if off <= EXACT else f"spikes or gradients of the neuron are off by {off:.1e} of their norm"


def _meaningless(got: str) -> CheckError:
    return CheckError(
        "nothing to check the variants by",
        expected="a reference with votes and gradients",
        got=got,
        todo="Choose another --network or --input.",
    )
