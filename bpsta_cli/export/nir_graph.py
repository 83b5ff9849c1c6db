"""A plan as a NIR graph, with each node named exact or approximate.

NIR (Pedersen et al. 2024, doi:10.1038/s41467-024-52259-9) describes neurons as equations in continuous time and has
no time step. Its LIF node, tau dv/dt = v_leak - v + r I, is our neuron for a reader that takes Euler steps of `DT`:
v[t] = (1 - DT / tau) v[t-1] + (DT / tau) r I, with tau = DT / (1 - decay), r = tau / DT and v_leak = 0.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bpsta_cli.errors import ExportError
from bpsta_cli.export import packages
from bpsta_cli.export.plan import (
    INPUT,
    Add,
    Array,
    Connect,
    Convolve,
    Fire,
    Flat,
    Plan,
    Pool,
    Rectify,
    Shape,
    Step,
    Vote,
)

OUTPUT = "output"
DT = 1e-4
"""Seconds of a time step: what snnTorch reads and writes NIR with. Only its ratio to tau counts."""
ANY_SPIKE = 0.5
"""The threshold of a window's sum of spikes: NIR fires above it, so that one spike is enough."""
RECTIFIED = "relu"
"""The metadata of a neuron's node whose ReLU is missed: a reader who knows it may clip the current at 0."""


class Fidelity(NamedTuple):
    """How a node stands to the network.

    Attributes:
        node: its name in the graph.
        kind: NIR's name of its kind.
        of: the layers that it stands for.
        exact: whether it computes what they do, but for rounding; neurons do where a reader takes Euler steps of `DT`.
        why: what differs, or what makes it exact.
    """

    node: str
    kind: str
    of: tuple[str, ...]
    exact: bool
    why: str


@dataclass(frozen=True)
class Graph:
    """A NIR graph and what is to be said of its nodes."""

    graph: Any
    nodes: list[Fidelity]


def graph(plan: Plan, about: dict[str, str], *, constant: bool, relu_levels: int = 0) -> Graph:
    """The NIR graph of one sample, whose output is the votes of a step.

    Args:
        plan: of the network.
        about: what the graph says of itself in its metadata.
        constant: whether the input is the same at every step.
        relu_levels: 0: the ReLUs, which NIR has no node for, are left out. Else each becomes a staircase of so many
            steps up to the threshold of the neurons behind it, in Threshold and Scale nodes. What is above the
            threshold may be cut off: potentials are never below 0 then, so that the neuron fires either way.

    Raises:
        ExportError: the network has what NIR cannot hold, or the package nir is not there.
    """
    if not plan.neurons:
        raise _refused("neurons", "a ReLU twin: NIR has no node for ReLU", "Export a run of a spiking method.")
    builder = _Builder(plan, constant=constant, relu_levels=relu_levels)
    for step in plan.steps.values():
        builder.step(step)
    return builder.finished({**about, "dt": DT})


class _Builder:
    """Collects nodes and edges; `_out` says which nodes the output of each step comes from."""

    def __init__(self, plan: Plan, *, constant: bool, relu_levels: int) -> None:
        self.plan, self.nir, self.relu_levels = plan, packages.load("nir"), relu_levels
        self.nodes: dict[str, Any] = {INPUT: self.nir.Input(np.array(plan.input_shape))}
        self.said: list[Fidelity] = []
        self.edges: list[tuple[str, str]] = []
        self._out: dict[str, list[str]] = {INPUT: [INPUT]}
        self._constant = plan.before_neurons() if constant else set()

    def step(self, step: Step) -> None:
        """Append the nodes of a step."""
        operation = step.operation
        sources = [node for source in step.sources for node in self._out[source]]
        if isinstance(operation, Add):
            self._out[step.name] = sources  # a node adds up what comes in
        elif isinstance(operation, Rectify):
            self._relu(step, sources)
        elif isinstance(operation, Pool) and not operation.average:
            self._max_pool(step, operation, sources)
        elif isinstance(operation, Fire):
            self._fire(step, operation, sources)
        elif isinstance(operation, Vote) and operation.voters == 1:
            self._out[step.name] = sources
        else:
            self._append(step.name, self._node(step), sources, step, why=_why(operation))

    def finished(self, about: dict[str, Any]) -> Graph:
        """The graph, whose types NIR has checked."""
        last = self.plan.last
        self.nodes[OUTPUT] = self.nir.Output(np.array(last.shape))
        self.edges += [(source, OUTPUT) for source in self._out[last.name]]
        return Graph(self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=about), self.said)

    def _append(
        self, layer: str, node: Any, sources: list[str], step: Step, *, exact: bool = True, why: str = ""
    ) -> None:
        name = layer.replace(".", "_")  # readers make attributes of the names
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        self._out[step.name] = [name]
        self.said.append(Fidelity(name, type(node).__name__, step.of, exact, why))

    def _node(self, step: Step) -> Any:
        operation = step.operation
        if isinstance(operation, Convolve):
            shape = self._input_shape(step)
            sides = (shape[1], shape[2])
            return self.nir.Conv2d(
                sides, operation.weight, operation.stride, operation.padding, (1, 1), 1, operation.bias
            )
        if isinstance(operation, Connect):
            return self.nir.Affine(operation.weight, operation.bias)
        if isinstance(operation, Pool):
            return self.nir.AvgPool2d(np.array(operation.size), np.array(operation.stride), np.array((0, 0)))
        if isinstance(operation, Flat):
            whole = np.array(self._input_shape(step))  # of a sample: NIR knows no batch
            return self.nir.Flatten({"input": whole}, start_dim=0, end_dim=-1)
        assert isinstance(operation, Vote)
        return self.nir.Linear(np.kron(np.eye(operation.classes), np.full((1, operation.voters), 1 / operation.voters)))

    def _relu(self, step: Step, sources: list[str]) -> None:
        """Leave the ReLU out, or append its staircase: how many Threshold nodes are passed, times a rise."""
        threshold = self._threshold_behind(step)
        self._out[step.name] = sources
        if self.relu_levels == 0 or step.name in self._constant:
            return
        name, levels = step.name.replace(".", "_"), self.relu_levels
        rise = f"{name}_rise"
        for level in range(1, levels + 1):
            # the last is at the threshold itself, where the neurons fire whatever their potentials are
            edge = _below(threshold) if level == levels else (level - 0.5) * threshold / levels
            self.nodes[f"{name}_at{level}"] = self.nir.Threshold(np.full(step.shape, edge, np.float32))
            self.edges += [(source, f"{name}_at{level}") for source in sources] + [(f"{name}_at{level}", rise)]
        self.nodes[rise] = self.nir.Scale(np.full(step.shape, _rise(threshold, levels), np.float32))
        self._out[step.name] = [rise]
        why = f"a staircase of {levels} steps up to the neurons' threshold"
        self.said.append(Fidelity(f"{name}_at1 to {levels}, {rise}", "Threshold, Scale", step.of, False, why))

    def _max_pool(self, step: Step, operation: Pool, sources: list[str]) -> None:
        if not self.plan.spikes(step.sources[0]):
            todo = "Export as ONNX, or train a structure that pools spikes."
            raise _refused("max pooling of spikes", f"{step.name}, of other values", todo)
        pool = self.nir.SumPool2d(np.array(operation.size), np.array(operation.stride), np.array((0, 0)))
        self._append(f"{step.name}.sum", pool, sources, step, why="a window's spikes")
        summed = self._out[step.name]
        node = self.nir.Threshold(np.full(step.shape, ANY_SPIKE, np.float32))
        self._append(f"{step.name}.threshold", node, summed, step, why=f"a spike in it: a sum above {ANY_SPIKE}")

    def _fire(self, step: Step, neurons: Fire, sources: list[str]) -> None:
        before = self.plan.steps.get(step.sources[0])
        constant = step.sources[0] in self._constant
        left_out = before is not None and isinstance(before.operation, Rectify) and (constant or not self.relu_levels)
        node = _lif(self.nir, neurons, step.shape)
        if left_out and not constant:
            node.metadata = {RECTIFIED: 1}
        why = "the ReLU is left out" if left_out else ""
        if left_out and constant:
            why += ", of no effect on a constant current"
        self._append(step.name, node, sources, step, exact=not left_out or constant, why=why)

    def _input_shape(self, step: Step) -> Shape:
        source = step.sources[0]
        return self.plan.input_shape if source == INPUT else self.plan.steps[source].shape

    def _threshold_behind(self, step: Step) -> float:
        """The threshold of the neurons behind a ReLU: there it can be left out or cut off, and nowhere else."""
        behind = [other.operation for other in self.plan.steps.values() if step.name in other.sources]
        thresholds = [operation.threshold for operation in behind if isinstance(operation, Fire)]
        if len(behind) != 1 or not thresholds:
            raise _refused("ReLU right before neurons", f"{step.name}, before something else", "Export as ONNX.")
        return thresholds[0]


def _lif(nir: Any, neurons: Fire, shape: Shape) -> Any:
    """The node of neurons; NIR fires above its threshold, ours at it."""
    threshold = _full(shape, _below(neurons.threshold))
    if neurons.decay == 1:  # it never leaks, and tau would have no end
        return nir.IF(r=_full(shape, 1 / DT), v_threshold=threshold, v_reset=_full(shape, 0))
    tau = DT / (1 - neurons.decay)
    return nir.LIF(
        tau=_full(shape, tau),
        r=_full(shape, tau / DT),
        v_leak=_full(shape, 0),
        v_threshold=threshold,
        v_reset=_full(shape, 0),
    )


def _below(threshold: float) -> float:
    """The last float32 below a threshold: what is above it is at our threshold at least."""
    return float(np.nextafter(np.float32(threshold), np.float32(0)))


def _rise(threshold: float, levels: int) -> np.float32:
    """The rise of each step of a staircase, in float32, so that all of them reach the threshold."""
    rise = np.float32(threshold / levels)
    while np.float32(levels) * rise < np.float32(threshold):
        rise = np.nextafter(rise, np.float32(np.inf))
    return rise


def _full(shape: Shape, value: Any) -> Array:
    return np.full(shape, value, np.float64)  # in float32 the decay that is read back would be another


def _why(operation: Any) -> str:
    return {Convolve: "the norm is folded in", Vote: "the mean over a class"}.get(type(operation), "")


def _refused(expected: str, got: str, todo: str) -> ExportError:
    return ExportError("a network that NIR cannot hold", expected=expected, got=got, todo=todo)
