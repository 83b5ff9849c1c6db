"""Training step, inference and the neuron alone, every variant in turn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from benchmarks import peers
from benchmarks.checking import neuron_mismatch
from benchmarks.clock import OnProgress, in_turns, ratio, spread
from benchmarks.comparisons import build, draw
from benchmarks.settings import Settings
from benchmarks.subjects import CONVOLUTIONS, OURS, TWIN, Project, Subject, Twin, Variant
from benchmarks.weights import calibrate, rates
from bpsta_cli.kernels import lif
from bpsta_cli.network import Network, losses
from bpsta_cli.network.neurons import LIF

Row = dict[str, Any]
"""A row of the table: what was measured, of which variant, and its values."""
FOLDED_TWIN = "ann-folded"
FLOOR = "memory floor"
BASES = {"of_twin": TWIN, "of_convolutions": CONVOLUTIONS, "of_floor": FLOOR}
NEURON_STEPS = 8
MIB = 2**20
CALIBRATED = (8, 4)
"""Steps and samples by which the weights are set."""


class Workload:
    """A network, an input for it and labels.

    Args:
        settings: what is measured.
        T: time steps.
        kind: of input.
        device: where.
        weights: of the network; None: as drawn.
    """

    def __init__(
        self, settings: Settings, T: int, kind: str, device: torch.device, weights: dict[str, Tensor] | None = None
    ) -> None:
        self.settings, self.device = settings, device
        torch.manual_seed(0)
        self.network = build(settings).to(device)
        if weights is not None:
            self.network.load_state_dict(weights)
        self.x = draw(settings, T, settings.batch, varying=kind == "varying", device=device)
        self.labels = torch.randint(settings.classes, (settings.batch,), device=device)

    def step(self, variant: Variant) -> Callable[[], object]:
        """One training step of a variant: forward, loss, backward.

        The optimiser's update, the same for all, is left out.
        """
        subject = variant.make(self.network).to(self.device).train()
        x = subject.prepare(self.x)

        def run() -> None:
            subject.zero_grad(set_to_none=True)
            with precision(self.settings, self.device):
                votes = subject(x)
                loss = losses.loss("mse", votes, self.labels) if variant.checked else None
            if loss is not None:
                loss.backward()  # type: ignore[no-untyped-call]

        return run


def weights(settings: Settings, kind: str, device: torch.device) -> dict[str, Tensor]:
    """With which the network fires as after training, whatever T."""
    load = Workload(settings, min(CALIBRATED[0], max(settings.T)), kind, device)
    calibrate(load.network, load.x[:, : CALIBRATED[1]])
    return load.network.state_dict()


def precision(settings: Settings, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Autocast where it is asked for."""
    if not settings.amp:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, settings.amp))


def steps(settings: Settings, variants: Iterable[Variant], device: torch.device, on_progress: OnProgress) -> list[Row]:
    """Time of a training step, over T and kinds of input."""
    rows = []
    for kind in settings.inputs:
        calibrated = weights(settings, kind, device)
        for T in settings.T:
            load = Workload(settings, T, kind, device, calibrated)
            works = {variant.name: load.step(variant) for variant in variants}
            rows += _timed("step", settings, works, device, on_progress, input=kind, T=T)
    return rows


def inference(
    settings: Settings,
    variants: Iterable[Variant],
    device: torch.device,
    on_progress: OnProgress,
    run: tuple[Network, Tensor] | None,
) -> list[Row]:
    """Time of a batch without gradients in evaluation mode; of the rules, which share it, only the first.

    Dense and sparse convolutions are two.

    Args:
        settings: what is measured.
        variants: contestants.
        device: where.
        on_progress: told how much is done, of how much.
        run: a trained network and its input; None: weights that fire at 0.1, each T and kind of input.
    """
    if run is not None:
        return _inference(settings, variants, run[0], run[1], device, on_progress, input="run", T=len(run[1]))
    rows = []
    for kind in settings.inputs:
        calibrated = weights(settings, kind, device)
        for T in settings.T:
            load = Workload(settings, T, kind, device, calibrated)
            rows += _inference(settings, variants, load.network, load.x, device, on_progress, input=kind, T=T)
    return rows


def _inference(
    settings: Settings,
    variants: Iterable[Variant],
    network: Network,
    x: Tensor,
    device: torch.device,
    on_progress: OnProgress,
    **keys: Any,
) -> list[Row]:
    def work(subject: Subject) -> Callable[[], object]:
        subject.to(device).eval()
        ready = subject.prepare(x)

        def run() -> None:
            with torch.no_grad(), precision(settings, device):
                subject(ready)

        return run

    subjects: dict[str, Subject] = {}
    for variant in variants:
        subject = variant.make(network)
        ways = {other.network.convolution for other in subjects.values() if isinstance(other, Project)}
        if isinstance(subject, Project) and subject.network.convolution in ways:
            continue
        subjects[variant.name] = subject
        if variant.name == TWIN:
            subjects[FOLDED_TWIN] = folded(Twin(network.eval()))
    rate = rates(network, x)
    works = {name: work(subject) for name, subject in subjects.items()}
    return _timed("inference", settings, works, device, on_progress, rate=sum(rate.values()) / len(rate), **keys)


def folded(twin: Twin) -> Twin:
    """The twin with each batch norm taken into the convolution before it, as deployment would have it."""
    twin.eval()
    conv: tuple[str, nn.Conv2d] | None = None
    for name, layer in list(twin.layers.named_children()):
        if isinstance(layer, nn.BatchNorm2d) and conv is not None:
            setattr(twin.layers, conv[0], fuse_conv_bn_eval(conv[1], layer))
            setattr(twin.layers, name, nn.Identity())
        conv = (name, layer) if isinstance(layer, nn.Conv2d) else None
    return twin


def neurons(settings: Settings, device: torch.device, on_progress: OnProgress) -> tuple[list[Row], dict[str, str]]:
    """Time of the neuron alone, forward and with its gradient, and which neurons are refused, and why.

    The floor reads and writes as much as has to be: forward a copy of the input (one array read, one written), with
    gradient also a sum of two arrays (spikes' gradient and input read, the input's gradient written). Everyone's
    output is new memory, the floor's too.
    """
    contestants = _neurons()
    refused = {name: why for name, (run, rule) in contestants.items() if (why := neuron_mismatch(run, rule, device))}
    rows = []
    for size in settings.neuron_mb:
        x = 0.4 * torch.randn(NEURON_STEPS, size * MIB // 4 // NEURON_STEPS, device=device)
        grad = torch.randn_like(x)
        forward: dict[str, Callable[[], object]] = {FLOOR: x.clone}
        both: dict[str, Callable[[], object]] = {FLOOR: lambda x=x, grad=grad: (x.clone(), x + grad)}  # type: ignore[misc]
        for name, (run, _rule) in contestants.items():
            if name not in refused:
                forward[name] = _without_gradient(run, x)
                both[name] = _with_gradient(run, x, grad)
        for kind, works in (("forward", forward), ("forward and backward", both)):
            rows += _timed("neuron", settings, works, device, on_progress, input=kind, T=NEURON_STEPS, mib=size)
    return rows, refused


def _without_gradient(run: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], object]:
    def work() -> None:
        with torch.no_grad():
            run(x)

    return work


def _with_gradient(run: Callable[[Tensor], Tensor], x: Tensor, grad: Tensor) -> Callable[[], object]:
    leaf = x.detach().requires_grad_()
    return lambda: torch.autograd.grad(run(leaf), leaf, grad)


def _neurons() -> dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]]:
    """What is called with [T, ...], and the rule that it is held against."""

    def ours(rule: str, backend: str) -> Callable[[Tensor], Tensor]:
        return lambda x: lif(x, rule=rule, backend=backend)

    found: dict[str, tuple[Callable[[Tensor], Tensor], dict[str, Any]]] = {
        rule: (ours(rule, "auto"), {"name": rule}) for rule in (OURS, "bpsa", "stbp")
    }
    found["bpsta, reference"] = (ours(OURS, "reference"), {"name": OURS})
    makers = {"spikingjelly": peers.spikingjelly_run, "snntorch": peers.snntorch_neuron, "norse": peers.norse_neuron}
    for variant in peers.variants():
        if variant.name in makers and not peers.absence(variant.package):
            reference = {("name" if key == "method" else key): value for key, value in variant.reference.items()}
            found[variant.name] = (makers[variant.name](LIF()), reference)
    return found


def _timed(
    measure: str,
    settings: Settings,
    works: dict[str, Callable[[], object]],
    device: torch.device,
    on_progress: OnProgress,
    **keys: Any,
) -> list[Row]:
    times = in_turns(works, rounds=settings.rounds, device=device, on_progress=on_progress)
    rows = []
    for name, own in times.items():
        row: Row = {"measure": measure, **keys, "variant": name, "unit": "ms", **spread(own)._asdict()}
        for column, base in BASES.items():
            if base in times:
                row |= _named(column, ratio(own, times[base])._asdict())
        if OURS in times:
            row |= _named("over_bpsta", ratio(own, times[OURS])._asdict())
        rows.append(row)
    return rows


def _named(column: str, values: dict[str, float]) -> dict[str, float]:
    return {column if name == "median" else f"{column}_{name}": value for name, value in values.items()}
