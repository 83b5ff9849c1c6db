"""The norms of a network folded into the convolutions before them, as evaluation's statistics are constant."""

import torch
from torch import nn

from bpsta_cli.errors import StructureError
from bpsta_cli.kernels.block_spec import scale_and_shift
from bpsta_cli.network.layers import Conv
from bpsta_cli.network.norms import FoldedNorm, NoNorm


def fold_norms(layers: nn.Module) -> None:
    """Fold every norm within `layers`, in place; `NoNorm` is left where it was.

    A convolution stands right before its norm among the children of one module, also in a residual block and its
    shortcut. A norm with statistics of each step has one running set in evaluation, and is folded likewise.

    Raises:
        StructureError: a norm that follows no convolution.
    """
    before: tuple[str, nn.Module] | None = None
    for name, layer in list(layers.named_children()):
        if isinstance(layer, FoldedNorm) and not isinstance(layer, NoNorm):
            if before is None or not isinstance(before[1], Conv):
                raise StructureError(
                    "a norm that cannot be folded",
                    expected="a convolution right before it",
                    got=f"{name} after {before[0] if before else 'nothing'}",
                    todo="Quantise a network of the paper's notation or a named one.",
                )
            setattr(layers, before[0], folded(before[1], layer))
            setattr(layers, name, NoNorm(layer.num_features))
        else:
            fold_norms(layer)
        before = name, layer


@torch.no_grad()
def folded(conv: Conv, norm: FoldedNorm) -> Conv:
    """A convolution that gives what `norm`, in evaluation, makes of that of `conv`, but for rounding."""
    gain, shift, stats = norm.eval().values(conv.weight)
    assert stats is not None, "the norm is in evaluation"
    scale, offset = (each[0] for each in scale_and_shift(gain, shift, stats, norm.eps))
    whole = Conv(
        conv.in_channels,
        conv.out_channels,
        conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    assert whole.bias is not None
    whole.convolution = conv.convolution
    whole.weight.copy_(conv.weight.double() * scale[:, None, None, None])
    whole.bias.copy_(offset if conv.bias is None else conv.bias.double() * scale + offset)
    return whole.to(memory_format=torch.channels_last)
