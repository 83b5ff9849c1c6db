"""Which samples of a batch a process computes, and how sums over the whole batch are made of what each has summed.

A long sum over a batch is made of 12 shares of its samples (kernels/README.md). A process computes whole shares, by the
numbers of the samples in the whole batch. The shares are the same numbers whoever computes them, and they are added in
their order: so the sum has the same bits for any number of processes.

With `ranks.ordered` false a process takes any samples, and what each has summed is added as it comes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from bpsta_cli.distributed.ranks import Ranks

SAMPLE_SHARES = 12
"""Shares of a batch's samples (kernels/cpu/held.hpp has the same): no more processes can compute whole ones."""


class Held(NamedTuple):
    """What kernels are told of the samples that they see (kernels/cpu/held.hpp).

    Attributes:
        batch: how many there are.
        first: the number of the first in the batch that shares are cut from.
        of: how many that batch has.
        begin: the first share to be summed.
        end: the one after the last.
    """

    batch: int
    first: int
    of: int
    begin: int
    end: int


@dataclass(frozen=True)
class Division:
    """A batch that several processes compute together, as one of them sees it.

    A process without a sample of its own, as there may be in a small batch, computes the batch's first as a stand-in:
    it goes through the same operations as the others, and none of its sums count.

    Attributes:
        ranks: the processes.
        of: samples of the whole batch.
        pending: parameters, and the shares of their gradients that this process has; `add_gradients` empties it.
    """

    ranks: Ranks
    of: int
    pending: list[tuple[nn.Parameter, list[Tensor]]] = field(default_factory=list)

    def bounds(self, rank: int) -> tuple[int, int]:
        """The samples from the first number to before the second are those of process `rank`."""
        begin, end = (self._first_of(each) for each in (rank, rank + 1))
        return begin, end

    def _first_of(self, rank: int) -> int:
        if not self.ranks.ordered:
            return self.of * rank // self.ranks.world
        return first_share(rank, self.ranks.world) * self.of // SAMPLE_SHARES

    @property
    def shares(self) -> range:
        """The shares that this process computes."""
        return range(*(first_share(self.ranks.rank + each, self.ranks.world) for each in (0, 1)))

    @property
    def stand_in(self) -> bool:
        """Whether this process has no sample of its own."""
        begin, end = self.bounds(self.ranks.rank)
        return begin == end

    @property
    def computed(self) -> slice:
        """The samples that this process computes: its own, or the stand-in."""
        return slice(0, 1) if self.stand_in else slice(*self.bounds(self.ranks.rank))

    def whole(self, count: int) -> int:
        """How many there are in the whole batch of what this process computes `count` of."""
        return count // self.held.batch * self.of

    @property
    def held(self) -> Held:
        """What kernels that sum over samples are told."""
        here = self.computed
        if self.stand_in or not self.ranks.ordered:
            batch = here.stop - here.start
            return Held(batch, 0, batch, 0, SAMPLE_SHARES)
        return Held(here.stop - here.start, here.start, self.of, self.shares.start, self.shares.stop)

    def added(self, parts: Tensor) -> Tensor:
        """Sums [...] over the whole batch, of those [parts, ...] that kernels made with `held`; on every process."""
        if self.stand_in:
            parts = torch.zeros_like(parts)
        if not self.ranks.ordered:
            return self.ranks.total(_in_order(parts))
        each = len(parts) // (self.held.end - self.held.begin)
        if self.stand_in:
            parts = parts[: each * len(self.shares)]
        counts = [each * count for count in self.share_counts()]
        flat = parts.reshape(len(parts), parts[0].numel() if len(parts) else 0)
        return _in_order(self.ranks.gather_rows(flat, counts)).view(parts.shape[1:])

    def share_counts(self) -> list[int]:
        """How many shares each process computes."""
        world = self.ranks.world
        return [first_share(rank + 1, world) - first_share(rank, world) for rank in range(world)]

    def from_first(self, value: Tensor) -> Tensor:
        """`value` of the process that has the batch's first sample."""
        owner = next(rank for rank in range(self.ranks.world) if self.bounds(rank)[1] > 0)
        return self.ranks.of_rank(owner, value)

    def all_samples(self, x: Tensor) -> Tensor:
        """`x` [T, computed samples, ...] of every process, put together: [T, of, ...]."""
        sizes = [self.bounds(rank)[1] - self.bounds(rank)[0] for rank in range(self.ranks.world)]
        return self.ranks.gather_samples(x[:, : sizes[self.ranks.rank]], sizes)

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the gradients of the whole batch to those of the parameters that wait, in one exchange."""
        if not self.pending:
            return
        sizes = [parameter.numel() for parameter, _ in self.pending]
        total = self.ranks.add_shares([shares for _, shares in self.pending], self.share_counts())
        for (parameter, _), gradient in zip(self.pending, torch.split(total, sizes), strict=True):
            if parameter.grad is None:
                parameter.grad = torch.empty_like(parameter).copy_(gradient.view(parameter.shape))
            else:
                parameter.grad += gradient.view(parameter.shape)
        self.pending.clear()


def first_share(rank: int, world: int) -> int:
    """The first share that process `rank` of `world` computes; every one has some up to `SAMPLE_SHARES` processes."""
    return SAMPLE_SHARES * rank // world


def _in_order(parts: Tensor) -> Tensor:
    """parts[0] + parts[1] + ..., one after another on a CPU, as kernels.sum_steps."""
    if parts.device.type != "cpu":
        return parts.sum(0)
    result = parts[0].clone()
    for part in parts[1:]:
        result += part
    return result


_current: Division | None = None


def current() -> Division | None:
    """How the batch that is computed is divided; None: this process computes all of it."""
    return _current


@contextmanager
def dividing(division: Division | None) -> Iterator[None]:
    """While the context is open, what is computed in training, forward and backward, is a part of a batch."""
    global _current  # noqa: PLW0603 - the backward pass of a GPU runs in a thread of its own
    before, _current = _current, division
    try:
        yield
    finally:
        _current = before


def whole(count: int) -> int:
    """How many there are in the whole batch of what this process computes `count` of: values, rows, neurons."""
    return count if _current is None else _current.whole(count)
