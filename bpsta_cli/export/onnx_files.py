"""A network written as ONNX: two files, and what they are of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bpsta_cli import files
from bpsta_cli.config import RunSettings
from bpsta_cli.data.store import Store
from bpsta_cli.export.onnx_graph import OPSET, all_steps, one_step
from bpsta_cli.export.plan import INPUT, plan
from bpsta_cli.network import Network

ALL_STEPS, ONE_STEP = "network.onnx", "step.onnx"


def write(
    folder: Path, network: Network, settings: RunSettings, store: Store, words: Mapping[str, str]
) -> dict[str, Any]:
    """Write both models.

    Args:
        folder: where the files go.
        network: on the CPU.
        settings: of the run.
        store: the data that it was trained on.
        words: from `about.about`.

    Returns:
        opset, files (by form) and the input's name and shape.

    Raises:
        ExportError: a layer that ONNX is not written for, or the package onnx is not there.
    """
    steps = plan(network, store.shape)
    constant = store.T is None
    models = {
        ALL_STEPS: all_steps(steps, settings.T, words, constant=constant),
        ONE_STEP: one_step(steps, words),
    }
    for name, model in models.items():
        with files.replacing(folder / name) as file:
            file.write(model.SerializeToString(deterministic=True))
    shape = ["batch", *store.shape] if constant else [settings.T, "batch", *store.shape]
    return {
        "opset": OPSET,
        "files": {"all_steps": ALL_STEPS, "one_step": ONE_STEP},
        "input": {"name": INPUT, "shape": shape, "scale": store.scale},
        "states": {name: list(step.shape) for name, step in steps.neurons.items()},
    }
