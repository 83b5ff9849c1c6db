"""Inference one time step at a time, which keeps every neuron's potential and stops work on decided samples."""

import copy
from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.data.store import Store
from bpsta_cli.evaluation.accuracy import OnBatch, batches, sample_count
from bpsta_cli.evaluation.accuracy_over_time import margin, require_spiking
from bpsta_cli.evaluation.early_exit import check_confidence, decided
from bpsta_cli.network import Network
from bpsta_cli.network.layers import is_constant
from bpsta_cli.network.neurons import LIF


class _Neuron(nn.Module):
    """LIF neurons that keep their potential from one call, which is one step, to the next."""

    def __init__(self, neuron: LIF) -> None:
        super().__init__()
        self.threshold, self.decay = neuron.threshold, neuron.decay
        self.v: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [1, B, ...] from input currents [1, B, ...]."""
        spikes, self.v = kernels.lif_step(self.v, x, threshold=self.threshold, decay=self.decay)
        return spikes


class Stepper:
    """Runs a network one time step at a time, for inference.

    It shares the network's weights and statistics and does not change the network. The votes of step t are those
    of `Network.votes` at t. The operations and their order are the same except in convolutions and linear layers,
    whose library may add in another order for one step than for T, or for fewer samples. A potential within such
    rounding of the threshold may then fall on its other side.

        stepper = Stepper(network)
        for x in frames:                             # [B, C, H, W]; of an image one current serves every step
            votes = stepper.step(stepper.current(x)) # [B, classes]

    Args:
        network: of a spiking method.

    Raises:
        RunError: the network is a ReLU twin.
    """

    def __init__(self, network: Network) -> None:
        require_spiking(network)
        shared: dict[int, Any] = {id(kept): kept for kept in (*network.parameters(), *network.buffers())}
        layers = copy.deepcopy(network.layers, shared).eval()
        self._neurons: list[_Neuron] = []
        for name, layer in list(layers.named_modules()):
            if isinstance(layer, LIF):
                parent, _, child = name.rpartition(".")
                neuron = _Neuron(layer)
                setattr(layers.get_submodule(parent), child, neuron)
                self._neurons.append(neuron)
        order = _flat(layers)
        first = next(place for place, layer in enumerate(order) if _has_neurons(layer))
        self._before, self._after = nn.Sequential(*order[:first]), nn.Sequential(*order[first:])

    def reset(self) -> None:
        """Start with other samples: every potential is 0 again."""
        for neuron in self._neurons:
            neuron.v = None

    @torch.no_grad()
    def current(self, x: Tensor) -> Tensor:
        """The input current of the first neurons at one step, [B, C, H, W] -> [1, B, ...]; changes no state.

        For an input that is the same at every step it is the same at every step.
        """
        current: Tensor = self._before(x.unsqueeze(0))
        return current

    @torch.no_grad()
    def step(self, current: Tensor) -> Tensor:
        """The votes of the next step, [1, B, ...] -> [B, classes]."""
        votes: Tensor = self._after(current)
        return votes[0]

    def keep(self, rows: Tensor) -> None:
        """Keep the potentials of these samples of the batch (a mask or indices), and of no others."""
        for neuron in self._neurons:
            if neuron.v is not None:
                neuron.v = neuron.v[:, rows]


@dataclass(frozen=True)
class Decisions:
    """The decisions on a batch.

    Attributes:
        sums: cumulative votes at the decision, float64 [B, classes]; the class of the highest is the prediction.
        steps: how many steps the decision took, int64 [B].
    """

    sums: Tensor
    steps: Tensor

    @property
    def predictions(self) -> Tensor:
        """The predicted classes, int64 [B]."""
        return self.sums.argmax(-1)


def decide(stepper: Stepper, x: Tensor, *, confidence: float | None) -> Decisions:
    """Run each sample until its margin reaches `confidence`, or for all T steps; decided samples leave the batch.

    Args:
        stepper: the network.
        x: input [T, B, C, H, W]; of a static one (stride 0 over time) the first convolution is computed once.
        confidence: margin between the two highest mean votes at which a sample is decided; None: never.
    """
    T, batch = x.shape[:2]
    stepper.reset()
    constant = stepper.current(x[0]) if is_constant(x) else None
    rows = torch.arange(batch, device=x.device)
    sums: Tensor | None = None
    steps = torch.full((batch,), T, device=x.device)
    finished: list[tuple[Tensor, Tensor]] = []
    for t in range(T):
        current = constant if constant is not None else stepper.current(x[t] if len(rows) == batch else x[t, rows])
        votes = stepper.step(current).double()  # sums of votes are exact in float64, as in `cumulative_votes`
        sums = votes if sums is None else sums + votes
        if confidence is None or t == T - 1:
            continue
        done = decided(margin(sums, t + 1), confidence)
        count = int(done.sum())
        if count == 0:
            continue
        steps[rows[done]] = t + 1
        finished.append((rows[done], sums[done]))
        left = ~done
        rows, sums = rows[left], sums[left]
        if count == len(done):
            break
        stepper.keep(left)
        constant = constant[:, left] if constant is not None else None
    assert sums is not None
    whole = torch.empty(batch, sums.shape[-1], dtype=torch.float64, device=x.device)
    for places, values in (*finished, (rows, sums)):
        whole[places] = values
    return Decisions(whole, steps)


def evaluate_with_exit(
    network: Network,
    store: Store,
    *,
    T: int,
    confidence: float,
    device: torch.device,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, Any]:
    """Accuracy and steps over the test part, where the work on a sample stops at its decision.

    Returns:
        confidence, accuracy, mean_steps, samples, and decided_after: step (as text) -> samples decided there.

    Raises:
        SettingsError: `confidence` outside [0, 1].
        RunError: the network is a ReLU twin.
        DataError: the test part is empty.
    """
    check_confidence(confidence)
    stepper, test = Stepper(network), store.split("test")
    total = sample_count(store, test, samples)
    done, correct, counts = 0, 0, Counter[int]()
    for x, labels in batches(store, test, T, device=device, samples=samples, network=network):
        found = decide(stepper, x, confidence=confidence)
        correct += int((found.predictions == labels).sum())
        counts.update(found.steps.tolist())
        done += len(labels)
        if on_batch:
            on_batch(done, total)
    return {
        "confidence": confidence,
        "accuracy": correct / done,
        "mean_steps": sum(step * count for step, count in counts.items()) / done,
        "samples": done,
        "decided_after": {str(step): counts[step] for step in range(1, T + 1)},
    }


def _flat(layers: nn.Module) -> list[nn.Module]:
    """The layers in the order in which they run, without the sequences that hold them."""
    if not isinstance(layers, nn.Sequential):
        return [layers]
    return [inner for layer in layers for inner in _flat(layer)]


def _has_neurons(layer: nn.Module) -> bool:
    return any(isinstance(inner, _Neuron) for inner in layer.modules())
