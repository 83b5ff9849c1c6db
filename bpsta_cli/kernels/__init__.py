"""The multi-step operations on [T, ...] tensors, forward and backward: neuron, block, norm, convolution and
linear layer.

Each is one function for every backend; `run_lif`, `run_block`, `run_norm` and `run_conv` pick it. README.md beside this
file has the derivation, the paper's equation numbers and what is detached.
"""

from bpsta_cli.kernels.block_spec import BlockSpec, Statistics
from bpsta_cli.kernels.run_block import BlockOutput, block, supports_block
from bpsta_cli.kernels.run_conv import ConvOutput, conv, linear
from bpsta_cli.kernels.run_lif import check_constants, lif, lif_step
from bpsta_cli.kernels.run_norm import norm, supports_norm, track_statistics
from bpsta_cli.kernels.single_step import single_step
from bpsta_cli.kernels.sums import mean_over, repeated, sum_steps, total, totals

__all__ = [
    "BlockOutput",
    "BlockSpec",
    "ConvOutput",
    "Statistics",
    "block",
    "check_constants",
    "conv",
    "lif",
    "lif_step",
    "linear",
    "mean_over",
    "norm",
    "repeated",
    "single_step",
    "sum_steps",
    "supports_block",
    "supports_norm",
    "total",
    "totals",
    "track_statistics",
]
