"""The processes that train one run together ("ranks"), and what they send each other.

Each operation is called by all of them, in the same order. One that waits for another longer than the time that was
agreed on, or finds its connection closed, raises an error.
"""

from __future__ import annotations

import itertools
import math
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor

from bpsta_cli.errors import RanksError


@dataclass
class Traffic:
    """What this process has exchanged so far.

    Attributes:
        calls: operations.
        bytes: sent to others.
        seconds: spent, waiting included.
    """

    calls: int = 0
    bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Ranks:
    """This process among those that train one run together; `meeting.met` makes it.

    Attributes:
        rank: the number of this process, from 0; 0 alone writes files.
        world: how many there are.
        device: where this one computes.
        ordered: whether sums over a batch are made of shares, which are added in their order.
        seconds: the longest that one waits for another.
    """

    rank: int
    world: int
    device: torch.device
    ordered: bool
    seconds: float
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def writes(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def total(self, own: Tensor) -> Tensor:
        """The sum of every process's tensor, added as they come; `own` is not changed."""
        result = own.detach().clone(memory_format=torch.contiguous_format)
        with self._exchange(2 * result.nbytes * (self.world - 1) // self.world):
            dist.all_reduce(result)
        return result

    def add_in_place(self, tensors: Sequence[Tensor]) -> None:
        """Each tensor becomes the sum of every process's, added as they come, in one exchange."""
        flat = self.total(torch.cat([tensor.reshape(-1) for tensor in tensors]))
        for tensor, sums in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(sums.view(tensor.shape))

    def add_shares(self, shares: Sequence[list[Tensor]], counts: Sequence[int]) -> Tensor:
        """Sums of all processes' shares, added in the order of the processes and of each one's shares: [sum of n].

        Each process adds a part of the values and sends the others its sums: at most half as many bytes as
        sending all shares to all.

        Args:
            shares: of each of several tensors, counts[rank] of them, [n] each; the lists are emptied.
            counts: shares of each process.
        """
        size = sum(len(each[0]) for each in shares)
        length = -(-size // self.world)  # of the part that a process adds
        mine = shares[0][0].new_empty(self.world, counts[self.rank], length)
        flat = mine.new_zeros(self.world * length)
        for share in range(counts[self.rank]):
            torch.cat([each.pop(0) for each in shares], out=flat[:size])
            mine[:, share] = flat.view(self.world, length)
        theirs = mine.new_empty(sum(counts) * length)
        with self._exchange(mine[0].nbytes * (self.world - 1)):
            dist.all_to_all_single(
                theirs,
                mine.view(-1),
                [count * length for count in counts],
                [counts[self.rank] * length] * self.world,
            )
        del mine
        each_share = theirs.view(sum(counts), length)
        added = each_share[0].clone()
        for share in each_share[1:]:
            added += share
        return self.gather(added).view(-1)[:size]

    def gather(self, own: Tensor) -> Tensor:
        """Every process's tensor, all of one shape: [world, ...]."""
        own = own.detach().contiguous()
        result = own.new_empty(self.world, *own.shape)
        with self._exchange(own.nbytes * (self.world - 1)):
            dist.all_gather(list(result.unbind(0)), own)
        return result

    def gather_rows(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """The rows of every process, in order; `counts` says how many each has: [counts[rank], n] -> [sum, n]."""
        filled = own.new_zeros(max(counts), own.shape[1])  # what is added here is taken off again below
        filled[: len(own)] = own.detach()
        gathered = self.gather(filled)
        return torch.cat([rows[:count] for rows, count in zip(gathered, counts, strict=True)])

    def gather_samples(self, own: Tensor, counts: Sequence[int]) -> Tensor:
        """The same of samples on the second axis: [T, counts[rank], ...] -> [T, sum, ...]."""
        steps, count, *shape = own.shape
        rows = own.movedim(1, 0).reshape(count, steps * math.prod(shape))
        return self.gather_rows(rows, counts).view(sum(counts), steps, *shape).movedim(0, 1).contiguous()

    def of_rank(self, rank: int, value: Tensor) -> Tensor:
        """`value` as process `rank` has it; of the same shape on all."""
        result = value.detach().clone(memory_format=torch.contiguous_format)
        with self._exchange(result.nbytes * (self.world - 1) if rank == self.rank else 0):
            dist.broadcast(result, rank)
        return result

    def bytes_of_writer(self, content: bytes | bytearray = b"") -> bytes:
        """`content` of the process that writes."""
        length = int(self.of_rank(0, torch.tensor([len(content)], device=self.device)).item())
        if not length:
            return b""
        own = torch.frombuffer(bytearray(content), dtype=torch.uint8) if self.writes else torch.zeros(length).byte()
        return self.of_rank(0, own.to(self.device)).cpu().numpy().tobytes()

    def sums(self, numbers: Sequence[int]) -> list[int]:
        """The sum of every process's number, for each of several."""
        summed: list[int] = self.total(torch.tensor(list(numbers), dtype=torch.int64, device=self.device)).tolist()
        return summed

    def least(self, number: int) -> int:
        """The least of every process's number."""
        return int(self.gather(torch.tensor([number], device=self.device)).min().item())

    def any(self, *questions: bool) -> list[bool]:
        """Whether one process at least says yes, for each of several questions."""
        return [count > 0 for count in self.sums([int(question) for question in questions])]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.sums([0])

    @contextmanager
    def _exchange(self, sent: int) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        except RuntimeError as lost:  # what gloo and NCCL raise when a connection is closed or too long silent
            raise RanksError(
                "another process of the run is gone or does not answer",
                expected=f"all {self.world} processes to take part, each within {self.seconds:g} seconds",
                got=f"in process {self.rank}: {reason(lost)}",
                todo="The last checkpoint is kept: the same command goes on from it, as torchrun --max-restarts does.",
            ) from lost
        self.traffic.calls += 1
        self.traffic.bytes += sent
        self.traffic.seconds += time.perf_counter() - began


def reason(lost: Exception) -> str:
    """The first sentence of what gloo or NCCL says, without the place in its source."""
    first = (str(lost).splitlines() or [""])[0]
    return re.sub(r"\[[^\]]*\.cc:\d+\] *", "", first).split(". ")[0][:150] or type(lost).__name__


def digests_differ(gathered: Tensor) -> list[int]:
    """The processes whose row of `gathered` [world, n] is another than that of the first."""
    return list(itertools.compress(range(len(gathered)), (gathered != gathered[0]).any(1).tolist()))
