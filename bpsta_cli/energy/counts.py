"""What is counted while a network is evaluated: of each layer, and of the whole."""

import math
from dataclasses import dataclass, field

from bpsta_cli.evaluation.accuracy import Evaluation


@dataclass
class LayerCount:
    """Operations of one layer with synapses, or of a shortcut, summed over the samples.

    Attributes:
        layer: its name.
        kind: "conv", "linear", or "shortcut" (the identity of a residual block, one addition for each spike).
        inputs: shape of its input, without time and batch.
        outputs: the same of its output.
        channels: filters or output neurons; one bias each, of its own or from the batch norm folded into it.
        weights: number of its weights.
        kernel: height times width of its kernel; 1 but for "conv".
        dense_ops: multiply-accumulates of one dense step of one sample, padding included (FLOPs as usually given).
        synapses: the same without padding, as NeuroBench counts dense operations.
        neuron: name of the neuron layer that it drives.
        owner: whether it is the first layer that drives those neurons; their updates are counted with it.
        data: whether its input is the data.
        constant: whether its input is the same at every step; then the layer is computed and counted once.
        nonzero: non-zero input values.
        input_values: all input values.
        reached: synapses that the non-zero inputs reach: within the image and with a weight that is not 0.
        binary: whether every input so far was 0 or 1.
        step_macs: `reached` of the steps whose input is not binary for a sample; a constant input counts T times.
        step_acs: the same of the steps whose input is binary.
    """

    layer: str
    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    channels: int
    weights: int
    kernel: int
    dense_ops: int
    synapses: int
    neuron: str
    owner: bool
    data: bool
    constant: bool
    nonzero: int = 0
    input_values: int = 0
    reached: int = 0
    binary: bool = True
    step_macs: int = 0
    step_acs: int = 0

    @property
    def neurons(self) -> int:
        """Neurons that it drives."""
        return math.prod(self.outputs)


@dataclass
class Counts:
    """What one evaluation counted.

    Attributes:
        T: time steps.
        connection_sparsity: share of weights that are 0.
        footprint: bytes of parameters and buffers.
        rows: the layers, in the order in which they ran.
        spike_counts: spikes of each neuron layer at each step, summed over samples; empty for the ReLU twin.
        neurons: neurons of each of those layers.
        evaluation: accuracy and firing rates.
    """

    T: int
    connection_sparsity: float
    footprint: int
    rows: list[LayerCount] = field(default_factory=list)
    spike_counts: dict[str, list[int]] = field(default_factory=dict)
    neurons: dict[str, int] = field(default_factory=dict)
    evaluation: Evaluation = field(init=False)

    @property
    def frames(self) -> int:
        """Dense passes that the twin makes: 1 for an image, T for frames of events."""
        return 1 if self.rows[0].constant else self.T

    @property
    def updating_steps(self) -> int:
        """Steps at which neurons are updated; 0 for the ReLU twin."""
        return self.T if self.spike_counts else 0
