"""A few epochs of training of a quantised twin by the twin's own recipe, at a smaller learning rate."""

import torch

from bpsta_cli.config import RunSettings
from bpsta_cli.data.store import Split, Store
from bpsta_cli.evaluation.accuracy import OnBatch
from bpsta_cli.network import Network
from bpsta_cli.training.epoch import Sums, make_learner, one_epoch
from bpsta_cli.training.monitor import monitoring

RATE_SHARE = 0.1
"""Of the recipe's learning rate: the weights are near where they should be."""


def recipe(settings: RunSettings, epochs: int) -> RunSettings:
    """The twin's recipe for so many more epochs: a tenth of its rate, falling to 0 from the first step on."""
    training = settings.training.model_copy(
        update={
            "lr": settings.training.lr * RATE_SHARE,
            "lr_warmup_epochs": 0,
            "schedule": "cosine",
            "precision": "float32",
            "recompute": False,
            "spike_penalty": 0.0,
        }
    )
    data = settings.data.model_copy(update={"epochs": epochs})
    return settings.model_copy(update={"data": data, "training": training})


def fine_tune(
    network: Network,
    settings: RunSettings,
    store: Store,
    part: Split,
    *,
    epochs: int,
    device: torch.device,
    on_batch: OnBatch | None = None,
) -> None:
    """Train a quantised twin in place, with gradients straight through the rounding; the steps stay.

    Order of samples, augmentation and dropout follow from the run's seed: the same bytes for any number of threads.

    Args:
        network: `QuantisedTwin.network`, on `device`.
        settings: of the twin's run.
        store: the prepared data.
        part: the samples that the run was trained on.
        epochs: passes over them.
        device: where to compute.
        on_batch: called after every step with how many samples were trained on, and of how many.

    Raises:
        TrainingError: the numbers are no longer finite.
    """
    learner = make_learner(network, recipe(settings, epochs), device, store.shape)
    for epoch in range(epochs):
        with monitoring(network) as monitor:
            for done in one_epoch(learner, monitor, store, part, epoch, Sums()):
                if on_batch:
                    seen = min(done.step * settings.data.batch_size, len(part))
                    on_batch(epoch * len(part) + seen, epochs * len(part))
    network.eval()
