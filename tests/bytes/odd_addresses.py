"""Keeps tensors where no vector load is aligned."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only


class OddAddresses(TorchDispatchMode):
    """While it is active, what torch makes begins one element behind a multiple of 64 bytes.

    torch's own allocator gives multiples of 64. Only the values of new memory move; views and what is written in place
    stay what they are.
    """

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        there = {
            tensor.untyped_storage().data_ptr()
            for tensor in tree_iter((args, kwargs))
            if isinstance(tensor, torch.Tensor)
        }
        return tree_map_only(
            torch.Tensor, lambda new: new if new.untyped_storage().data_ptr() in there else moved(new), result
        )


def moved(tensor):
    """A copy of `tensor`, strides and all, that begins one element into its memory."""
    if tensor.numel() == 0 or tensor.storage_offset() or tensor.device.type != "cpu":
        return tensor
    extent = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    memory = torch.empty(extent + 1, dtype=tensor.dtype)
    result = memory.as_strided(tensor.shape, tensor.stride(), 1)
    return result.copy_(tensor)
