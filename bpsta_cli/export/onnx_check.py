"""ONNX models run by onnxruntime, and held against the network's own votes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bpsta_cli.data.store import Store
from bpsta_cli.evaluation.accuracy import OnBatch, batches, sample_count
from bpsta_cli.export import packages
from bpsta_cli.export.agreement import Agreement, in_time
from bpsta_cli.export.onnx_graph import BATCH, NEXT_STATE, STATE
from bpsta_cli.export.plan import INPUT
from bpsta_cli.network import Network
from bpsta_cli.network.layers import is_constant


class Runtime:
    """A model that onnxruntime has loaded, on the CPU with as many threads as torch has.

    Raises:
        ExportError: the package onnxruntime is not there.
    """

    def __init__(self, model: Path) -> None:
        runtime = packages.load("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
        self._session = runtime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])

    def run(self, inputs: dict[str, np.ndarray[Any, Any]]) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))

    def first_states(self, batch: int) -> dict[str, np.ndarray[Any, Any]]:
        """The potentials before the first step, of a model of one step, by name."""
        shapes = {each.name: each.shape for each in self._session.get_inputs() if each.name != INPUT}
        return {
            name: np.zeros([batch if side == BATCH else side for side in shape], np.float32)
            for name, shape in shapes.items()
        }


def step_votes(model: Runtime, frames: Iterator[np.ndarray[Any, Any]], batch: int) -> Tensor:
    """The votes of a model of one step, called once for every frame [B, C, H, W]: [T, B, classes]."""
    states, votes = model.first_states(batch), []
    for frame in frames:
        found = model.run({INPUT: frame, **states})
        votes.append(found["votes"])
        states = {name: found[name.removesuffix(STATE) + NEXT_STATE] for name in states}
    return torch.from_numpy(np.stack(votes))


@torch.no_grad()
def agreement(
    network: Network,
    store: Store,
    all_steps: Path,
    one_step: Path,
    *,
    T: int,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, dict[str, Any]]:
    """How both models vote on the test part beside the network: what `Agreement.record` says of each.

    Args:
        network: on the CPU.
        store: the data that it was trained on.
        all_steps: the file with the model of all steps.
        one_step: the file with the model of one step.
        T: time steps.
        samples: only the first so many; None: all.
        on_batch: called after every batch.

    Raises:
        ExportError: the package onnxruntime is not there.
        DataError: the test part is empty.
    """
    network.eval()
    whole, stepping = Runtime(all_steps), Runtime(one_step)
    counts, stepped = Agreement(), Agreement()
    test = store.split("test")
    total = sample_count(store, test, samples)
    for x, labels in batches(store, test, T, device=torch.device("cpu"), samples=samples, network=network):
        here = in_time(network.votes(x), T)
        found = whole.run({INPUT: (x[0] if is_constant(x) and store.T is None else x).contiguous().numpy()})
        decisions = torch.from_numpy(found["decision"])
        counts.add(here, torch.from_numpy(found["votes_by_step"]), labels, decisions)
        frames = (frame.contiguous().numpy() for frame in x)
        stepped.add(here, step_votes(stepping, frames, len(labels)), labels)
        if on_batch:
            on_batch(counts.samples, total)
    return {"all_steps": counts.record(), "one_step": stepped.record()}
