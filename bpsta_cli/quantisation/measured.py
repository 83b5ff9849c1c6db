"""What a quantised twin is worth: test accuracy after calibration alone, and after fine-tuning."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bpsta_cli.config import RunSettings
from bpsta_cli.data.run_data import training_parts
from bpsta_cli.data.store import Split, Store
from bpsta_cli.evaluation.accuracy import OnBatch, batches, evaluate
from bpsta_cli.network import Network
from bpsta_cli.quantisation.fine_tuning import fine_tune, recipe
from bpsta_cli.quantisation.twin import quantise
from bpsta_cli.random_numbers import Stream

CALIBRATION_SAMPLES = 1024
"""Training samples that the steps are fitted to, drawn by the run's seed; all where there are fewer."""
FINE_TUNING_EPOCHS = 2
"""What the pipeline fine-tunes for, and what is done where nothing else is said."""


@dataclass(frozen=True)
class FineTuned:
    """A twin that was trained on with its values rounded.

    Attributes:
        epochs: of that training.
        lr: its largest learning rate.
        accuracy: share of test samples that are right.
    """

    epochs: int
    lr: float
    accuracy: float


@dataclass(frozen=True)
class QuantisedAccuracy:
    """What a quantised twin is, and its accuracy.

    Attributes:
        bits: of an activation.
        weight_bits: of a weight.
        calibration_samples: training samples that the steps were fitted to.
        steps: of the input and of each layer whose output is rounded, by its name.
        accuracy: share of test samples that are right after calibration alone.
        fine_tuned: the same after fine-tuning; None: there was none.
    """

    bits: int
    weight_bits: int
    calibration_samples: int
    steps: dict[str, float]
    accuracy: float
    fine_tuned: FineTuned | None


def measure(
    network: Network,
    store: Store,
    settings: RunSettings,
    *,
    bits: int,
    epochs: int = FINE_TUNING_EPOCHS,
    device: torch.device,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> QuantisedAccuracy:
    """Quantise a trained twin and measure its accuracy; calibration and fine-tuning see training samples alone.

    Args:
        network: of a run of the method "ann", on `device`; it is not changed.
        store: the data that it was trained on.
        settings: of the run.
        bits: of an activation.
        epochs: of fine-tuning; 0: none.
        device: where to compute.
        samples: only the first so many test samples.
        on_batch: called after every batch.

    Raises:
        SettingsError: a spiking network, or bits out of range.
        StructureError: a norm that cannot be folded.
        TrainingError: fine-tuning diverged.
    """
    part, _ = training_parts(settings, store)
    chosen = calibration_part(part, settings.seed)

    def inputs() -> Iterator[Tensor]:
        return (x for x, _ in batches(store, chosen, settings.T, device=device, network=network))

    def accuracy(of: Network) -> float:
        test = store.split("test")
        return evaluate(of, store, test, T=settings.T, device=device, samples=samples, on_batch=on_batch).accuracy

    twin = quantise(network, inputs, bits=bits, input_unit=store.scale)
    calibrated, fine_tuned = accuracy(twin.network), None
    if epochs:
        fine_tune(twin.network, settings, store, part, epochs=epochs, device=device, on_batch=on_batch)
        fine_tuned = FineTuned(epochs, recipe(settings, epochs).training.lr, accuracy(twin.network))
    return QuantisedAccuracy(bits, twin.weight_bits, len(chosen), twin.steps, calibrated, fine_tuned)


def calibration_part(part: Split, seed: int) -> Split:
    """`CALIBRATION_SAMPLES` of the training samples, which may lie class by class, in their order."""
    return part.subset(np.sort(Stream("calibration", seed).permutation(len(part))[:CALIBRATION_SAMPLES]))
