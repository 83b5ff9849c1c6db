"""How the processes that torchrun starts find each other (launcher.py: what each is told of its place)."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from bpsta_cli.distributed import launcher
from bpsta_cli.distributed.division import SAMPLE_SHARES
from bpsta_cli.distributed.ranks import Ranks, reason
from bpsta_cli.errors import RanksError, SettingsError

SECONDS = 60.0
"""The longest that one process waits for another while they train; `BPSTA_RANK_SECONDS` gives another time."""
PREPARING = timedelta(days=2)
"""The longest that they wait while data are downloaded and prepared; torchrun ends all if one fails meanwhile."""
STARTING = timedelta(minutes=10)
"""The longest that they wait for each other after that: some may have to read all data to verify them."""
REDUCTIONS = ("shares", "sums")
"""How sums over a batch are made: of shares in their order, or of every process's sum as it comes."""

Made = TypeVar("Made")


def in_turn(work: Callable[[], Made]) -> Made:
    """What `work` gives, done by one process of each machine first; when all of these are done, by the others.

    Raises:
        RanksError: the first one did not come to its end.
    """
    if launcher.world() == 1:
        return work()
    store, first = _store(), launcher.number("LOCAL_RANK", 0) == 0
    made = work() if first else None
    if first:
        store.set(f"in_turn/{launcher.number('GROUP_RANK', 0)}", "done")
    _wait(store, [f"in_turn/{group}" for group in range(launcher.number("GROUP_WORLD_SIZE", 1))], PREPARING)
    return work() if made is None else made


def after_the_writer(what: str) -> None:
    """Have the others wait until the first process comes here too, longer than they wait in a step.

    Args:
        what: the first process has done, which it does once in a start.

    Raises:
        RanksError: it did not come in `STARTING`, or is gone.
    """
    if launcher.world() == 1:
        return
    if launcher.is_writer():
        _store().set(f"done/{what}", "yes")
    else:
        _wait(_store(), [f"done/{what}"], STARTING)


@contextmanager
def met(device: torch.device, reduction: str, *, compiled: bool) -> Iterator[Ranks | None]:
    """The processes of this run while the context is open; None where this one is alone.

    Args:
        device: where to compute; of "cuda" each process of a machine takes a GPU of its own.
        reduction: one of `REDUCTIONS`.
        compiled: whether the compiled kernels compute; without them sums have no shares.

    Raises:
        SettingsError: more processes than there are shares, or than a machine has GPUs.
        RanksError: they cannot reach each other.
    """
    world = launcher.world()
    if world == 1:
        yield None
        return
    ordered = reduction == "shares" and compiled
    if ordered and world > SAMPLE_SHARES:
        raise SettingsError(
            "too many processes",
            expected=f"at most {SAMPLE_SHARES}, as a batch has so many shares",
            got=str(world),
            todo="Give --reduce sums, which needs none, or start fewer.",
        )
    rank, seconds, store = launcher.rank(), _seconds(), _store()
    store.set(f"here/{rank}", "yes")
    _wait(store, [f"here/{each}" for each in range(world)], STARTING)
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=PrefixStore("ranks", store),
            rank=rank,
            world_size=world,
            timeout=timedelta(seconds=seconds),
        )
    except RuntimeError as lost:
        raise _unreachable(lost) from lost
    yield Ranks(rank, world, device, ordered, seconds)
    dist.destroy_process_group()  # not after an error: NCCL would wait for those that are gone


def own_device(device: torch.device) -> torch.device:
    """The device of this process where `device` is that of all: a GPU each.

    Raises:
        SettingsError: there are fewer GPUs here than processes.
    """
    if device.type != "cuda" or not launcher.launched():
        return device
    local, there = launcher.number("LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= there:
        raise SettingsError(
            "too few GPUs for the processes of this machine",
            expected=f"at most {there} processes, one a GPU",
            got=str(launcher.number("LOCAL_WORLD_SIZE", local + 1)),
            todo="Lower --nproc-per-node.",
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


@functools.cache  # where the first process has the store in itself, it must stay
def _store() -> Store:
    """The store through which they tell each other where they are."""
    from torch.distributed.rendezvous import rendezvous

    try:
        store: Store = next(rendezvous("env://"))[0]
    except (RuntimeError, ValueError) as lost:
        raise _unreachable(lost) from lost
    # torchrun keeps its store when it starts the processes again: what was written there is of those before
    return PrefixStore(f"start/{launcher.number('TORCHELASTIC_RESTART_COUNT', 0)}", store)


def _wait(store: Store, keys: list[str], longest: timedelta) -> None:
    try:
        store.wait(keys, longest)
    except RuntimeError as lost:
        raise _unreachable(lost) from lost


def _unreachable(lost: Exception) -> RanksError:
    return RanksError(
        "the processes of the run cannot reach each other",
        expected=f"{launcher.number('WORLD_SIZE', 1)} processes that torchrun started",
        got=f"in process {launcher.number('RANK', 0)}: {reason(lost)}",
        todo="Start them with torchrun, which says how to reach the first machine (--rdzv-endpoint).",
    )


def _seconds() -> float:
    text = os.environ.get("BPSTA_RANK_SECONDS", "")
    try:
        seconds = float(text) if text else SECONDS
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise SettingsError(
            "unusable BPSTA_RANK_SECONDS",
            expected="a number of seconds above 0",
            got=repr(text),
            todo=f"Leave it out for {SECONDS:g}.",
        )
    return seconds
