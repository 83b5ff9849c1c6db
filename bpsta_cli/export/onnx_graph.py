"""A plan as ONNX models: all T time steps with the loop inside, and one step with its state as input and output.

Both are built of ONNX's plain operators by the neuron's equations, in the order of `kernels/reference.py`; nothing is
traced. Operators: https://onnx.ai/onnx/operators.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from bpsta_cli import __version__
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

OPSET, IR_VERSION = 18, 9
"""Of the models: operators of ONNX 1.13 (2022), and a file format that every runtime of that age reads."""
BATCH = "batch"
"""The name of the one axis whose length is open."""
STATE, NEXT_STATE = ".v", ".v_next"
"""What a layer of neurons' name is followed by: the potential after the step before, and after this one."""


def one_step(plan: Plan, about: Mapping[str, str]) -> Any:
    """The model of one time step: input and potentials to votes and potentials.

    Inputs: input [batch, C, H, W] and, for each layer of neurons, LAYER.v in the layer's shape, 0 before the first
    step. Outputs: votes [batch, classes] of this step and, for each layer, LAYER.v_next.

    Args:
        plan: of the network.
        about: what the model says of itself in its metadata.

    Raises:
        ExportError: the package onnx is not there.
    """
    graph = _Graph()
    states = {name: name + STATE for name in plan.neurons}
    values, after = graph.steps(list(plan.steps.values()), {INPUT: INPUT}, states)
    graph.operator("Identity", [values[plan.last.name]], "votes")
    for name, value in after.items():
        graph.operator("Identity", [value], name + NEXT_STATE)
    shapes = {name: step.shape for name, step in plan.neurons.items()}
    inputs = {INPUT: plan.input_shape, **{name + STATE: shape for name, shape in shapes.items()}}
    outputs = {"votes": plan.last.shape, **{name + NEXT_STATE: shape for name, shape in shapes.items()}}
    return graph.model(
        "one step",
        [graph.value(name, (BATCH, *shape)) for name, shape in inputs.items()],
        [graph.value(name, (BATCH, *shape)) for name, shape in outputs.items()],
        {**about, "states": json.dumps({name + STATE: shape for name, shape in shapes.items()})},
    )


def all_steps(plan: Plan, T: int, about: Mapping[str, str], *, constant: bool) -> Any:
    """The model of all time steps, with a loop over them inside.

    Input: input, an image [batch, C, H, W] that is shown at every step, or frames [T, batch, C, H, W]. Outputs: votes
    [batch, classes], the mean over the steps; decision [batch], the class of the highest sum, which float64 holds
    exactly; votes_by_step [T, batch, classes].

    Args:
        plan: of the network.
        T: time steps.
        about: what the model says of itself in its metadata.
        constant: whether the input is an image; what comes before the first neurons is then computed once.

    Raises:
        ExportError: the package onnx is not there.
    """
    graph = _Graph()
    once = plan.before_neurons() if constant else set()
    values, _ = graph.steps([step for step in plan.steps.values() if step.name in once], {INPUT: INPUT}, {})
    batch_axis = 0 if constant else 1
    batch = graph.operator("Shape", [INPUT], "batch_size", start=batch_axis, end=batch_axis + 1)
    first = [_zeros(graph, name, batch, step.shape) for name, step in plan.neurons.items()]
    body = _body(graph, plan, {name: value for name, value in values.items() if name in once}, constant=constant)
    last = [f"{name}.v_last" for name in plan.neurons]
    steps = graph.constant("T", np.array(T, np.int64))
    graph.operator("Loop", [steps, "", *first], [*last, "votes_by_step"], body=body)
    exact = graph.operator("Cast", ["votes_by_step"], "exact_votes", to=graph.onnx.TensorProto.DOUBLE)
    axis = graph.constant("time_axis", np.array([0], np.int64))
    total = graph.operator("ReduceSum", [exact, axis], "summed_votes", keepdims=0)
    graph.operator("ArgMax", [total], "decision", axis=1, keepdims=0)
    mean = graph.operator("Div", [total, graph.constant("T_exact", np.array(T, np.float64))], "mean_votes")
    graph.operator("Cast", [mean], "votes", to=graph.onnx.TensorProto.FLOAT)
    classes = plan.last.shape
    inputs = (BATCH, *plan.input_shape) if constant else (T, BATCH, *plan.input_shape)
    outputs = [
        graph.value("votes", (BATCH, *classes)),
        graph.value("decision", (BATCH,), graph.onnx.TensorProto.INT64),
        graph.value("votes_by_step", (T, BATCH, *classes)),
    ]
    return graph.model("all time steps", [graph.value(INPUT, inputs)], outputs, about)


def _zeros(graph: "_Graph", name: str, batch: str, shape: Shape) -> str:
    """The potentials before the first step."""
    rest = graph.constant(f"{name}.shape", np.array(shape, np.int64))
    whole = graph.operator("Concat", [batch, rest], f"{name}.state_shape", axis=0)
    zero = graph.helper.make_tensor(f"{name}.zero", graph.onnx.TensorProto.FLOAT, [1], [0.0])
    return graph.operator("ConstantOfShape", [whole], f"{name}.v_first", value=zero)


def _body(outer: "_Graph", plan: Plan, known: dict[str, str], *, constant: bool) -> Any:
    """The loop's body: potentials to potentials and votes; its constants are the outer graph's."""
    graph = _Graph(outer)
    inputs = known if constant else {INPUT: graph.operator("Gather", [INPUT, "step"], "frame", axis=0)}
    states = {name: name + STATE for name in plan.neurons}
    inside = [step for step in plan.steps.values() if step.name not in known]
    values, after = graph.steps(inside, inputs, states)
    graph.operator("Identity", ["go_on"], "goes_on")
    for name, value in after.items():
        graph.operator("Identity", [value], name + NEXT_STATE)
    graph.operator("Identity", [values[plan.last.name]], "votes_now")
    types = graph.onnx.TensorProto
    shapes: dict[str, tuple[int | str, ...]] = {name: (BATCH, *step.shape) for name, step in plan.neurons.items()}
    return graph.graph(
        "a step",
        [
            graph.value("step", (), types.INT64),
            graph.value("go_on", (), types.BOOL),
            *(graph.value(name + STATE, shape) for name, shape in shapes.items()),
        ],
        [
            graph.value("goes_on", (), types.BOOL),
            *(graph.value(name + NEXT_STATE, shape) for name, shape in shapes.items()),
            graph.value("votes_now", (BATCH, *plan.last.shape)),
        ],
    )


class _Graph:
    """Collects a graph's operators and constants; those of a body go into the graph around it."""

    def __init__(self, outer: "_Graph | None" = None) -> None:
        self.onnx = packages.load("onnx")
        self.helper = packages.load("onnx.helper")
        self.operators: list[Any] = []
        self.constants: dict[str, Any] = {} if outer is None else outer.constants
        self.is_body = outer is not None

    def constant(self, name: str, value: Array) -> str:
        """A constant, once for the whole model."""
        if name not in self.constants:
            self.constants[name] = packages.load("onnx.numpy_helper").from_array(value, name)
        return name

    def operator(self, kind: str, inputs: list[str], output: str | list[str], **attributes: Any) -> str:
        """Append an operator; the name of its first output."""
        outputs = [output] if isinstance(output, str) else output
        self.operators.append(self.helper.make_node(kind, inputs, outputs, name=outputs[-1], **attributes))
        return outputs[0]

    def value(self, name: str, shape: tuple[int | str, ...], kind: int | None = None) -> Any:
        """An input or output of the graph; float32 where no other type is given."""
        return self.helper.make_tensor_value_info(name, kind or self.onnx.TensorProto.FLOAT, shape)

    def steps(
        self, steps: list[Step], inputs: dict[str, str], states: dict[str, str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """Append the operators of steps.

        Args:
            steps: those wanted, in their order.
            inputs: the names of values by the names of the steps, of those that are there already.
            states: the names of the potentials before the step, by layers of neurons.

        Returns:
            The names of all values by step, and those of the potentials after the step.
        """
        values, after = dict(inputs), {}
        for step in steps:
            sources = [values[source] for source in step.sources]
            if isinstance(step.operation, Fire):
                values[step.name], after[step.name] = self._fire(step, sources[0], states[step.name])
            else:
                values[step.name] = self._stateless(step, sources)
        return values, after

    def _fire(self, step: Step, current: str, v: str) -> tuple[str, str]:
        """u = decay v + x, o = [u >= threshold], v = u - u o: the names of o and v."""
        neurons, name = step.operation, step.name
        assert isinstance(neurons, Fire)
        decay = self.constant(f"{name}.decay", np.array(neurons.decay, np.float32))
        threshold = self.constant(f"{name}.threshold", np.array(neurons.threshold, np.float32))
        left = self.operator("Mul", [v, decay], f"{name}.left")
        u = self.operator("Add", [left, current], f"{name}.u")
        fires = self.operator("GreaterOrEqual", [u, threshold], f"{name}.fires")
        spikes = self.operator("Cast", [fires], f"{name}.spikes", to=self.onnx.TensorProto.FLOAT)
        spent = self.operator("Mul", [u, spikes], f"{name}.spent")
        return spikes, self.operator("Sub", [u, spent], f"{name}.after")

    def _stateless(self, step: Step, sources: list[str]) -> str:
        """The operators of any other step; the name of its output, which is the step's."""
        operation, name = step.operation, step.name
        output = f"{name}.out"
        if isinstance(operation, Convolve | Connect):
            return self._weighted(operation, name, sources, output)
        if isinstance(operation, Pool):
            kind = "AveragePool" if operation.average else "MaxPool"
            return self.operator(kind, sources, output, kernel_shape=operation.size, strides=operation.stride)
        if isinstance(operation, Vote):
            groups = self.constant(f"{name}.groups", np.array([0, operation.classes, operation.voters], np.int64))
            grouped = self.operator("Reshape", [*sources, groups], f"{name}.grouped")
            axis = self.constant("voters_axis", np.array([2], np.int64))
            count = self.operator("ReduceSum", [grouped, axis], f"{name}.count", keepdims=0)
            voters = self.constant(f"{name}.voters", np.array(operation.voters, np.float32))
            return self.operator("Div", [count, voters], output)
        if isinstance(operation, Flat):
            return self.operator("Flatten", sources, output, axis=1)
        assert isinstance(operation, Rectify | Add)
        return self.operator("Relu" if isinstance(operation, Rectify) else "Add", sources, output)

    def _weighted(self, operation: Convolve | Connect, name: str, sources: list[str], output: str) -> str:
        weight = self.constant(f"{name}.weight", operation.weight)
        bias = self.constant(f"{name}.bias", operation.bias)
        if isinstance(operation, Connect):
            return self.operator("Gemm", [*sources, weight, bias], output, transB=1)
        pads = [*operation.padding, *operation.padding]
        return self.operator("Conv", [*sources, weight, bias], output, strides=operation.stride, pads=pads)

    def graph(self, name: str, inputs: list[Any], outputs: list[Any]) -> Any:
        """What was collected, as ONNX's graph."""
        constants = [] if self.is_body else list(self.constants.values())
        return self.helper.make_graph(self.operators, name, inputs, outputs, initializer=constants)

    def model(self, name: str, inputs: list[Any], outputs: list[Any], about: Mapping[str, str]) -> Any:
        """The graph as a model that ONNX's own checker has accepted, with its metadata."""
        model = self.helper.make_model(
            self.graph(name, inputs, outputs),
            opset_imports=[self.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="bpsta",
            producer_version=__version__,
        )
        self.helper.set_model_props(model, {"form": name, **about})
        packages.load("onnx.checker").check_model(model, full_check=True)
        return model
