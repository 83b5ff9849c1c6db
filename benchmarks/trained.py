"""A trained network and real samples for inference, from a run directory."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from benchmarks.settings import Settings
from bpsta_cli.data.run_data import prepared_store
from bpsta_cli.evaluation.accuracy import batches
from bpsta_cli.network import Network
from bpsta_cli.training.run_directory import RunDir


def trained(settings: Settings, device: torch.device) -> tuple[Network, Tensor] | None:
    """The network of `settings.run` and the first test samples as its input; None where no run is named.

    Raises:
        RunError: no such run, or one that is not finished.
        DataError: its data are not there.
    """
    if not settings.run:
        return None
    info, network = RunDir(Path(settings.run)).network(device)
    store = prepared_store(
        info.settings.dataset,
        info.settings.data,
        T=info.settings.T,
        data_dir=Path(settings.data_dir),
        expected_hash=info.data_hash,
    )
    test = store.split("test")
    x, _ = next(batches(store, test, info.settings.T, device=device, samples=settings.batch, size=settings.batch))
    return network, x
