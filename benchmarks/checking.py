"""Votes and gradients of every variant against the float64 reference, before anything is timed.

Two comparisons, each in training mode with one backward pass and then in evaluation mode, whose statistics the
training step has moved:

- The structure with at most `CHANNELS` filters a layer, on inputs for which no potential of the reference comes
  within `MARGIN` of where a spike, a ReLU or a surrogate turns over. Rounding can then turn nothing over, and votes
  and gradients must agree to rounding.
- Every convolution of the network itself, with the norm, neurons and pooling after it and an output layer, on its
  own. Of its millions of neurons some do turn over by rounding, with no later layers that make more of it: votes and
  gradients must agree on the whole for one of `ATTEMPTS` inputs. (In the whole network one neuron of the first
  layer that turns over can leave nothing of the last layer's spikes as they were.)
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.settings import Settings
from benchmarks.subjects import Project, Subject, Variant, no_plain_twin
from benchmarks.weights import calibrate
from bpsta_cli.errors import BpstaError
from bpsta_cli.kernels import lif
from bpsta_cli.network import Network, builder, losses, notation
from bpsta_cli.network.neurons import LIF, SpikeActivity
from bpsta_cli.rules import make

CHANNELS = 16
BATCH, STEPS = 2, 3
MARGIN = 2e-6
"""Units of potential; single precision is off by some 1e-7 here."""
DRAWS = 200
"""Inputs that are tried until one keeps the margin."""
ATTEMPTS = 3
POOLS = ("max-pool", "avg-pool")
OUTPUT = "10Voting"
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


class Case(NamedTuple):
    """Which comparison: of which kind of input, what of the network, and the how manyth input."""

    varying: bool
    settings: Settings
    exact: bool
    attempt: int = 0


Drawn = tuple[Network, Tensor, Tensor]
"""Network, input and labels."""


class Checker:
    """Holds networks, inputs and references, which several variants share."""

    def __init__(self, settings: Settings, device: torch.device) -> None:
        self.settings, self.device = settings, device
        self._cases: dict[tuple[str, Case], Drawn] = {}
        self._outcomes: dict[str, Outcome] = {}

    def refusal(self, variant: Variant) -> str:
        """Why a variant's times mean nothing, in one clause; empty when it computes the same."""
        if not variant.checked:
            return ""
        for kind in self.settings.inputs:
            varying = kind == "varying"
            whole = Case(varying, thinned(self.settings), exact=True)
            cases = [[whole]] + [
                [Case(varying, part, exact=False, attempt=attempt) for attempt in range(ATTEMPTS)]
                for part in convolutions(self.settings)
            ]
            for attempts in cases:
                tolerance, off = EXACT if attempts[0].exact else ON_THE_WHOLE, float("inf")
                for case in attempts:
                    off = min(off, self._deviation(variant, case))
                    if off <= tolerance:
                        break
                else:
                    network = attempts[0].settings.network
                    return f"votes or gradients are off by {off:.1e} of their norm ({kind} input, {network})"
        return ""

    def _deviation(self, variant: Variant, case: Case) -> float:
        network, x, labels = self._drawn_once(variant.reference.get("norm", "folded"), case)
        key = repr((sorted(variant.reference.items()), case))
        if key not in self._outcomes:
            reference = self._build(case, backend="reference", **variant.reference).double()
            reference.load_state_dict(network.state_dict())
            self._outcomes[key] = outcome(Project(reference), x.double().contiguous(), labels)
            gradients = _joined(self._outcomes[key].gradients)
            if not (gradients.isfinite().all() and gradients.count_nonzero()):
                raise _meaningless("gradients that are not finite, or all 0")
        subject = variant.make(network).to(self.device)
        return self._outcomes[key].deviation(outcome(subject, subject.prepare(x), labels), each=case.exact)

    def _drawn_once(self, norm: str, case: Case) -> Drawn:
        if (norm, case) not in self._cases:
            self._cases[norm, case] = self._drawn(norm, case)
        return self._cases[norm, case]

    def _drawn(self, norm: str, case: Case) -> Drawn:
        """Weights, and an input that keeps the margin where the comparison is exact."""
        steps = STEPS if case.exact else min(self.settings.T)
        torch.manual_seed(case.attempt)
        network = self._build(case, norm=norm)
        x = draw(case.settings, steps, BATCH, varying=case.varying, device=self.device)
        labels = torch.randint(self.settings.classes, (BATCH,), device=self.device)
        calibrate(network, x)
        if not case.exact:
            return network, x, labels
        for _ in range(DRAWS):
            reference = self._build(case, norm=norm, backend="reference").double()
            reference.load_state_dict(network.state_dict())
            if margin(reference, x.double().contiguous()) > MARGIN:
                return network, x, labels
            x = draw(case.settings, steps, BATCH, varying=case.varying, device=self.device)
        raise _meaningless(f"none of {DRAWS} inputs whose potentials all keep {MARGIN:.0e} from an edge")

    def _build(self, case: Case, **told: Any) -> Network:
        return build(case.settings, **told).to(self.device)


def build(settings: Settings, **told: Any) -> Network:
    """The network that is measured, without dropout: its masks would differ from variant to variant."""
    return builder.build(settings.network, settings.shape, settings.classes, dropout=0.0, **told)


def draw(settings: Settings, steps: int, batch: int, *, varying: bool, device: torch.device) -> Tensor:
    """An input [T, B, C, H, W]; the same image at every step has a time stride of 0, as `to_input` gives it."""
    x = torch.rand(steps if varying else 1, batch, *settings.shape).to(device)
    return x if varying else x.expand(steps, *x.shape[1:])


def thinned(settings: Settings) -> Settings:
    """The structure with at most `CHANNELS` filters and hidden neurons a layer; inputs and outputs stay.

    Raises:
        SettingsError: a residual network, which has no plain twin here.
    """

    def fewer(token: notation.Token) -> str:
        if token.kind not in ("conv", "fc"):
            return token.text
        return re.sub(r"^\d+", str(min(token.numbers[0], CHANNELS)), token.text)

    return dataclasses.replace(settings, network="-".join(map(fewer, _tokens(settings))))


def convolutions(settings: Settings) -> list[Settings]:
    """Each convolution with the pooling after it and the output layer, as a network by itself."""
    tokens = _tokens(settings)
    found, (channels, height, width) = [], settings.shape
    for place, token in enumerate(tokens):
        if token.kind == "conv":
            pools = itertools.takewhile(lambda after: after.kind in POOLS, tokens[place + 1 :])
            part = "-".join([token.text, *(pool.text for pool in pools), OUTPUT])
            found.append(dataclasses.replace(settings, network=part, shape=(channels, height, width)))
            channels, less = token.numbers[0], token.numbers[1] - 3
            height, width = height - less, width - less
        elif token.kind in POOLS:
            height, width = height // token.numbers[0], width // token.numbers[0]
    return list(dict.fromkeys(found))


def _tokens(settings: Settings) -> list[notation.Token]:
    if settings.network in notation.RESIDUAL:
        raise no_plain_twin(settings.network)
    return notation.parse(settings.network, inputs=math.prod(settings.shape), classes=settings.classes)


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


@torch.no_grad()
def margin(network: Network, x: Tensor) -> float:
    """How near anything comes to where it turns over, in training and then in evaluation.

    A spike at u = theta, a ReLU at 0, and the rectangular curve also at 0.5 from theta on either side.
    """
    nearest = [float("inf")]

    def near(values: Tensor, edge: float) -> None:
        gaps = (values - edge).abs()
        nearest.append(float(gaps.where(gaps > 0, float("inf")).min()))  # exactly there is so for everyone

    def watcher(_name: str, neuron: LIF) -> Callable[[SpikeActivity], None]:
        def watch(activity: SpikeActivity) -> None:
            v = torch.zeros_like(activity.current[0])
            for current in activity.current:
                u = neuron.decay * v + current
                for edge in (neuron.threshold - 0.5, neuron.threshold, neuron.threshold + 0.5):
                    near(u, edge)
                v = u * (u < neuron.threshold)

        return watch

    hooks = [
        layer.register_forward_hook(lambda _layer, _inputs, output: near(output, 0.0))
        for layer in network.modules()
        if hasattr(layer, "weight")
    ]
    with network.observed(watcher):
        network.train().votes(x)
        network.eval().votes(x)
    for hook in hooks:
        hook.remove()
    return min(nearest)


def neuron_refusal(run: Callable[[Tensor], Tensor], reference: Mapping[str, Any], device: torch.device) -> str:
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
            kept &= (u - edge).abs() > 10 * MARGIN
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
