"""One epoch: one pass over the training part in batches, and the epoch's record."""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bpsta_cli import kernels
from bpsta_cli.config import RunSettings
from bpsta_cli.data import augmentation, catalogue
from bpsta_cli.data.batches import Batch, every, load
from bpsta_cli.data.encoding import to_input
from bpsta_cli.data.store import Split, Store
from bpsta_cli.distributed.division import Division, dividing
from bpsta_cli.distributed.ranks import Ranks
from bpsta_cli.distributed.samples import counting, of_all
from bpsta_cli.evaluation.accuracy import cumulative_votes
from bpsta_cli.network import Network, losses
from bpsta_cli.network.memory import neuron_counts
from bpsta_cli.random_numbers import Stream
from bpsta_cli.training import activation_checkpointing, optimisers
from bpsta_cli.training.monitor import Monitor
from bpsta_cli.training.schedules import learning_rate

READ_EVERY = {"cpu": 1}
"""Every so many steps the loss, and the values that must be finite, are read from a device of this type."""
READ_EVERY_ELSEWHERE = 16
"""The same of the other types: to read, the host must wait until the device has done all its work."""


@dataclass(frozen=True)
class StepDone:
    """One optimisation step: how many of the epoch's are done, and the loss of the last one that was read."""

    epoch: int
    step: int
    steps: int
    loss: float


@dataclass(frozen=True)
class Learner:
    """What a run changes while it trains: weights, the optimiser's state, the loss scale; and by which settings.

    Attributes:
        neurons: how many spike in one step of one sample, where spikes have a penalty.
        ranks: the processes that train together; None: this one is alone.
    """

    network: Network
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    settings: RunSettings
    device: torch.device
    neurons: int
    ranks: Ranks | None = None

    def division(self, samples: int) -> Division | None:
        """How the processes divide a batch, or a part of one, of so many samples; None: this one computes all."""
        return None if self.ranks is None else Division(self.ranks, samples)

    def computed(self, samples: int) -> slice:
        """Which of them this process computes."""
        divided = self.division(samples)
        return every(samples) if divided is None else divided.computed


@dataclass
class Sums:
    """What an epoch has added up in its first steps, and where its random numbers are: it can go on from there.

    Attributes:
        step: steps done.
        loss_sum: the sum over samples of the loss.
        last: the loss of the last step that was read.
        rate: the learning rate of the last step.
        correct: samples that were right.
        seconds: time that was spent on these steps before the run was stopped.
        monitor: the monitor's sums; empty before the first step.
        random: states of torch's generators by their type of device; empty before the first step.
    """

    step: int = 0
    loss_sum: float = 0.0
    last: float = float("nan")
    rate: float = 0.0
    correct: int | Tensor = 0
    seconds: float = 0.0
    monitor: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Tensor] = field(default_factory=dict)

    def read(self, monitor: Monitor) -> None:
        """Add the losses of the steps since the last call.

        Raises:
            TrainingError: the numbers are no longer finite.
        """
        for loss, samples in monitor.read():
            self.loss_sum, self.last = self.loss_sum + loss * samples, loss

    def note(self, monitor: Monitor, device: torch.device, seconds: float) -> None:
        """Take in what belongs to a checkpoint at this step and lies elsewhere."""
        self.read(monitor)
        self.seconds, self.monitor = seconds, monitor.state_dict()
        self.random = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            self.random["cuda"] = torch.cuda.get_rng_state(device)

    def state_dict(self) -> dict[str, Any]:
        """The same in nested dictionaries; `note` came before."""
        return {**vars(self), "correct": int(self.correct)}

    @classmethod
    def of_state_dict(cls, state: dict[str, Any]) -> "Sums":
        """The sums that `state_dict` gave."""
        return cls(**state)

    def go_on(self, monitor: Monitor, device: torch.device) -> None:
        """Bring the monitor and torch's generators to this step."""
        monitor.load_state_dict(self.monitor)
        torch.set_rng_state(self.random["cpu"])
        if device.type == "cuda":
            torch.cuda.set_rng_state(self.random["cuda"], device)


def make_learner(
    network: Network,
    settings: RunSettings,
    device: torch.device,
    shape: tuple[int, int, int],
    ranks: Ranks | None = None,
) -> Learner:
    """The learner at the start of a run, for a network that is on `device` already and takes steps of `shape`."""
    optimiser = optimisers.make(network, settings.training)
    scaler = optimisers.scaler(settings.training, device)
    neurons = sum(neuron_counts(network, shape)) if settings.training.spike_penalty else 0
    return Learner(network, optimiser, scaler, settings, device, neurons, ranks)


def steps_of(part: Split, settings: RunSettings) -> int:
    """How many steps an epoch over `part` has."""
    return math.ceil(len(part) / settings.data.batch_size)


def one_epoch(
    learner: Learner, monitor: Monitor, store: Store, part: Split, epoch: int, sums: Sums
) -> Generator[StepDone, None, dict[str, Any]]:
    """One pass over the training part, or what is left of it; yields steps and returns the epoch's record.

    Args:
        learner: what is trained.
        monitor: of this epoch.
        store: the prepared data.
        part: the samples to train on.
        epoch: its number.
        sums: what its first steps added up; they are not done again, and those that follow add to it.

    Raises:
        TrainingError: the numbers are no longer finite.
    """
    settings, network = learner.settings, learner.network
    if sums.step:
        sums.go_on(monitor, learner.device)
    else:
        # nothing here draws from torch's generator, but a rule of the user's own may
        torch.manual_seed(int(Stream("torch", settings.seed, epoch).words(1)[0]))
    batches = batches_of(learner, store, part, epoch, first=sums.step)
    steps = steps_of(part, settings)
    network.train()
    with network.convolution_as(settings.training.convolution), network.dropout_by(settings.seed, epoch):
        for step, batch in enumerate(batches, start=sums.step):
            sums.rate = _rate(settings, epoch * steps + step, steps)
            optimisers.set_rate(learner.optimiser, sums.rate)
            sums.correct = sums.correct + _step(learner, monitor, batch, store.scale)
            sums.step = step + 1
            if is_read_after(sums.step, steps, learner.device):
                sums.read(monitor)
            yield StepDone(epoch, sums.step, steps, sums.last)
    optimisers.check_scale(learner.scaler)
    return {
        "epoch": epoch,
        "phase": "spiking" if network.spiking else "twin",
        "lr": sums.rate,
        "train_loss": sums.loss_sum / len(part),
        "train_accuracy": int(sums.correct) / len(part),
        **{f"train_firing_rate/{name}": value for name, value in monitor.firing_rates().items()},
        **{f"gradient_norm/{name}": value for name, value in monitor.gradient_norms().items()},
    }


def is_read_after(step: int, steps: int, device: torch.device) -> bool:
    """Whether values are read from the device after so many steps of an epoch's."""
    return step % READ_EVERY.get(device.type, READ_EVERY_ELSEWHERE) == 0 or step == steps


def batches_of(learner: Learner, store: Store, part: Split, epoch: int, *, first: int) -> Iterator[Batch]:
    """The epoch's batches from number `first` on.

    Like dropout, their order and augmentation depend on seed, epoch and sample alone: a resumed run repeats an
    unbroken one, and all processes of a run have the same batches.
    """
    settings = learner.settings
    size = settings.data.batch_size
    order = Stream("order", settings.seed, epoch).permutation(len(part))
    changed = augmentation.for_epoch(
        settings.data.augmentation,
        store.kind,
        len(part),
        flip_safe=catalogue.get(settings.dataset).flip_safe,
        seed=settings.seed,
        epoch=epoch,
    )
    rows = (np.sort(order[start : start + size]) for start in range(first * size, len(part), size))
    parts = settings.training.accumulate
    return load(part, rows, changed, device=learner.device, parts=parts, computed=learner.computed)


def _rate(settings: RunSettings, step: int, steps: int) -> float:
    """The learning rate of the run's step number `step`, of `steps` an epoch."""
    training = settings.training
    return learning_rate(
        step,
        peak=training.lr,
        warmup=settings.lr_warmup_epochs * steps,
        total=settings.data.epochs * steps,
        schedule=training.schedule,
        period=training.sgdr_period * steps,
    )


def _step(learner: Learner, monitor: Monitor, batch: Batch, scale: float) -> Tensor:
    """One step of the optimiser; returns how many samples were right, in a tensor."""
    training, optimiser, scaler = learner.settings.training, learner.optimiser, learner.scaler
    optimiser.zero_grad()
    done = [
        _backward(learner, part, scale, len(part.y) / len(batch.y))
        for part in batch.parts(training.accumulate, learner.computed)
    ]
    if learner.ranks is not None and not learner.ranks.ordered:
        _add_gradients(learner.network, learner.ranks)
    scaler.unscale_(optimiser)
    monitor.after_backward(kernels.sum_steps(torch.stack([loss for loss, _ in done])), len(batch.y))
    if training.clip_norm is not None:
        optimisers.clip_gradients(learner.network.parameters(), training.clip_norm)
    scaler.step(optimiser)
    scaler.update()
    return torch.stack([right for _, right in done]).sum()


def _backward(learner: Learner, part: Batch, scale: float, share: float) -> tuple[Tensor, Tensor]:
    """Add a part's gradient; returns the part's `share` of the batch's loss, and how many samples were right."""
    network, training, device = learner.network, learner.settings.training, learner.device
    x = to_input(part.x, T=learner.settings.T, scale=scale, device=device)
    labels = part.y.to(device, non_blocking=True)
    network.dropout_samples(part.rows[learner.computed(len(part.y))].tolist())
    if training.spike_penalty:
        _set_spike_cost(learner, share / len(part.y))
    divided = learner.division(len(part.y))
    with dividing(divided), counting(_of_synapses(network), divided):
        with optimisers.autocast(training, device):
            votes = activation_checkpointing.votes(network, x) if training.recompute else network.votes(x)
        votes = of_all(votes, divided)
        rates = losses.Rates(training.right_rate, training.wrong_rate)
        loss = losses.loss(training.loss, votes, labels, label_smoothing=training.label_smoothing, rates=rates) * share
        learner.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
    if divided is not None:
        divided.add_gradients()
    return loss.detach(), (cumulative_votes(votes.detach())[-1].argmax(1) == labels).sum()


def _add_gradients(network: Network, ranks: Ranks) -> None:
    """Add every process's gradients of the layers with synapses; those of norms are of the whole batch already."""
    gradients = [parameter.grad for parameter in _of_synapses(network) if parameter.grad is not None]
    ranks.add_in_place(gradients)


def _of_synapses(network: Network) -> list[nn.Parameter]:
    return [each for layer in network.synapses().values() for each in layer.parameters(recurse=False)]


def _set_spike_cost(learner: Learner, share: float) -> None:
    """Let each spike cost its part of the penalty: over all neurons and steps, and `share`, a sample's of the batch.

    The neurons add it to a gradient that the loss scale has multiplied.
    """
    whole = learner.settings.training.spike_penalty * learner.scaler.get_scale() * share
    for neurons in learner.network.neurons().values():
        neurons.spike_cost = whole / (learner.settings.T * learner.neurons)
