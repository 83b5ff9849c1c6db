"""What is checked of a run's settings before any data are read."""

import math
from pathlib import Path

import torch

from bpsta_cli import rules
from bpsta_cli.config import RunSettings
from bpsta_cli.data import catalogue
from bpsta_cli.devices import memory_bytes
from bpsta_cli.distributed import launcher
from bpsta_cli.errors import MemoryExhaustedError, SettingsError
from bpsta_cli.network import Network, notation
from bpsta_cli.network.memory import outputs, training_bytes
from bpsta_cli.training.run_directory import RunDir


def check(settings: RunSettings) -> None:
    """Raise an error where a name in the settings is wrong.

    Raises:
        SettingsError: unknown method.
        DataError: unknown data set.
        StructureError: a network that cannot be read.
        RunError: no run to start from.
    """
    row = catalogue.get(settings.dataset)
    if settings.data.network not in notation.RESIDUAL:
        inputs = max(1, math.prod(row.shape))  # those of a user's own folder are known later
        notation.parse(settings.data.network, inputs=inputs, classes=max(1, len(row.classes)))
    if settings.method != rules.TWIN:
        if settings.method not in rules.names() and not settings.method.endswith(".py"):
            raise SettingsError(
                "unknown method",
                expected=f"one of {', '.join((*rules.names(), rules.TWIN))}, or a file with a rule (.py)",
                got=repr(settings.method),
                todo="Correct --method.",
            )
        settings.make_rule()
    if settings.init_from:
        RunDir(Path(settings.init_from)).info()


def check_memory(settings: RunSettings, network: Network, shape: tuple[int, int, int], device: torch.device) -> None:
    """Refuse a run whose potentials alone, of one part of a batch, take more memory than there is.

    Args:
        settings: of the run.
        network: on any device.
        shape: (C, H, W) of one step.
        device: where it is to be trained.

    Raises:
        MemoryExhaustedError: they do; it says what to lower, and how far.
    """
    training, T, there = settings.training, settings.T, memory_bytes(device)
    share = launcher.machine_share() if device.type == "cpu" else launcher.process_share()
    part = math.ceil(settings.data.batch_size / training.accumulate * share)
    values = outputs(network, shape)
    needed = training_bytes(values, T=T, batch=part, recompute=training.recompute)
    if needed <= there:
        return
    fits = int(part * there / needed)
    if fits >= 1:
        parts = math.ceil(settings.data.batch_size / fits)
        todo = f"Give --batch-size {fits} or less, or --accumulate {parts} or more"
    else:
        steps = max(1, int(T * there / (needed / part)))
        todo = f"Lower --T to {steps} or less with --batch-size 1, or take a smaller network"
    if not training.recompute:
        todo += ", or try --recompute"
    raise MemoryExhaustedError(
        "not enough memory for the run",
        expected=f"potentials of at most {there / 2**30:.1f} GiB",
        got=f"{needed / 2**30:,.1f} GiB for T = {T} and {part} samples at a time",
        todo=f"{todo}.",
    )
