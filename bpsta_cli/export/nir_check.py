"""A NIR file read back and run by nirtorch, and held against the network's own votes."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bpsta_cli.data.store import Store
from bpsta_cli.evaluation.accuracy import OnBatch, batches, sample_count
from bpsta_cli.export import packages
from bpsta_cli.export.agreement import Agreement, in_time, nearest_votes
from bpsta_cli.export.nir_graph import DT, RECTIFIED
from bpsta_cli.network import Network
from bpsta_cli.network.layers import Voting


class _Neurons(nn.Module):
    """A LIF or IF node in Euler steps of `DT`, by NIR's equation; nirtorch keeps the potentials as its state.

    Args:
        node: of the graph.
        rectified: whether the current is clipped at 0 where the node's metadata say that there was a ReLU.
    """

    decay: Tensor
    gain: Tensor
    leak: Tensor
    threshold: Tensor
    reset: Tensor

    def __init__(self, node: Any, *, rectified: bool) -> None:
        super().__init__()
        rate = DT / node.tau if hasattr(node, "tau") else None
        self.register_buffer("decay", torch.as_tensor(1.0 if rate is None else 1 - rate))
        self.register_buffer("gain", torch.as_tensor(DT * node.r if rate is None else rate * node.r))
        self.register_buffer("leak", torch.as_tensor(0.0 if rate is None else rate * node.v_leak))
        self.register_buffer("threshold", torch.as_tensor(node.v_threshold))
        self.register_buffer("reset", torch.as_tensor(node.v_reset))
        self.had_relu = RECTIFIED in node.metadata
        self.rectified = rectified and self.had_relu

    def forward(self, current: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spikes, and the potentials after them."""
        if self.rectified:
            current = current.relu()
        u = current * self.gain + self.leak
        if state is not None:
            u = state * self.decay + u
        fires = u > self.threshold
        return fires.to(u.dtype), torch.where(fires, self.reset, u)


class _Scale(nn.Module):
    """A factor for each value."""

    scale: Tensor

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.register_buffer("scale", torch.as_tensor(node.scale))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _Threshold(nn.Module):
    """1 above the threshold, else 0."""

    threshold: Tensor

    def __init__(self, node: Any) -> None:
        super().__init__()
        self.register_buffer("threshold", torch.as_tensor(node.threshold))

    def forward(self, x: Tensor) -> Tensor:
        return (x > self.threshold).to(x.dtype)


def read(file: Path, *, rectified: bool = False) -> nn.Module:
    """The graph in a file as nirtorch builds it: (input of a step [B, C, H, W], state) to (votes, state).

    nirtorch wires and runs the graph. The nodes are mapped here: its own map (2.6) leaves out the bias of an Affine
    node and takes a Flatten node's axes for those of a batch, and has none for neurons, thresholds and scales.

    Args:
        file: a NIR file that this package wrote: nirtorch makes code of the nodes' names, and runs it.
        rectified: whether the ReLUs that NIR has no node for are given back, from the nodes' metadata.

    Raises:
        ExportError: the packages nir and nirtorch are not there.
    """
    nir, nirtorch = packages.load("nir"), packages.load("nirtorch")
    maps = {
        nir.Affine: _affine,
        nir.AvgPool2d: lambda node: nn.AvgPool2d(_pair(node.kernel_size), _pair(node.stride)),
        nir.Conv2d: _conv,
        nir.Flatten: lambda node: nn.Flatten(int(node.start_dim) + 1),
        nir.IF: lambda node: _Neurons(node, rectified=rectified),
        nir.LIF: lambda node: _Neurons(node, rectified=rectified),
        nir.Scale: _Scale,
        nir.SumPool2d: lambda node: nn.LPPool2d(1, _pair(node.kernel_size), _pair(node.stride)),
        nir.Threshold: _Threshold,
    }
    module: nn.Module = nirtorch.nir_to_torch(nir.read(str(file)), maps)
    return module.eval()


@torch.no_grad()
def agreement(
    network: Network,
    store: Store,
    file: Path,
    *,
    T: int,
    samples: int | None = None,
    on_batch: OnBatch | None = None,
) -> dict[str, dict[str, Any]]:
    """How the graph in a file votes on the test part beside the network: what `Agreement.record` says.

    Args:
        network: on the CPU.
        store: the data that it was trained on.
        file: the NIR file.
        T: time steps.
        samples: only the first so many; None: all.
        on_batch: called after every batch.

    Returns:
        as_written: of the graph as NIR defines its nodes. with_relu, where ReLUs were left out: of the same with them
        given back, which shows what of the differences comes from elsewhere.

    Raises:
        ExportError: the packages nir and nirtorch are not there.
        DataError: the test part is empty.
    """
    network.eval()
    voters = next(layer.voters for layer in network.modules() if isinstance(layer, Voting))
    modules = {"as_written": read(file)}
    if any(isinstance(inner, _Neurons) and inner.had_relu for inner in modules["as_written"].modules()):
        modules["with_relu"] = read(file, rectified=True)
    counts = {name: Agreement() for name in modules}
    test = store.split("test")
    total = sample_count(store, test, samples)
    for x, labels in batches(store, test, T, device=torch.device("cpu"), samples=samples, network=network):
        here = in_time(network.votes(x), T)
        for name, module in modules.items():
            counts[name].add(here, nearest_votes(_votes(module, x), voters), labels)
        if on_batch:
            on_batch(counts["as_written"].samples, total)
    return {name: count.record() for name, count in counts.items()}


def _votes(module: nn.Module, x: Tensor) -> Tensor:
    """The votes of every step, [T, B, C, H, W] -> [T, B, classes]."""
    state, votes = None, []
    for frame in x:
        vote, state = module(frame, state)
        votes.append(vote)
    return torch.stack(votes)


def _affine(node: Any) -> nn.Module:
    linear = nn.Linear(node.weight.shape[1], node.weight.shape[0])
    linear.weight, linear.bias = _parameter(node.weight), _parameter(node.bias)
    return linear


def _conv(node: Any) -> nn.Module:
    filters, channels, *kernel = node.weight.shape
    conv = nn.Conv2d(channels, filters, tuple(kernel), _pair(node.stride), _pair(node.padding))
    conv.weight, conv.bias = _parameter(node.weight), _parameter(node.bias)
    return conv


def _parameter(values: Any) -> nn.Parameter:
    return nn.Parameter(torch.as_tensor(values))


def _pair(values: Any) -> tuple[int, int]:
    return int(values[0]), int(values[1])
