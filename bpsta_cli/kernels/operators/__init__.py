"""The compiled kernels as operators of torch's, for what looks at a network without running it.

torch.compile, torch.export and torch.jit.trace see tensors that have no memory to give a kernel the address of. They
are given these operators: each runs the same kernel, with the same bits, and says beforehand of which shape and layout
its result is. Elsewhere a kernel is called directly, which takes less time and may reuse its input's memory.

The operators' names begin with "bpsta::". An exported or traced network runs in a process that has imported this
package: `import bpsta_cli.kernels`.
"""

from bpsta_cli.kernels.operators.block import block, statistics
from bpsta_cli.kernels.operators.convolution import convolve
from bpsta_cli.kernels.operators.neuron import LIF, lif
from bpsta_cli.kernels.operators.norm import norm, track_statistics
from bpsta_cli.kernels.operators.sums import sum_steps

__all__ = ["LIF", "block", "convolve", "lif", "norm", "statistics", "sum_steps", "track_statistics"]
