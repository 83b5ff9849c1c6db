"""How the processes of a run begin together: one uses the run's directory, and the others are told what came of it."""

import hashlib
from collections.abc import Callable
from typing import TypeVar

import torch

from bpsta_cli.distributed.ranks import Ranks, digests_differ
from bpsta_cli.errors import BpstaError, RanksError, RunError
from bpsta_cli.training import checkpoint
from bpsta_cli.training.epoch import Learner
from bpsta_cli.training.resume import open_or_resume
from bpsta_cli.training.run_directory import RunDir, RunInfo
from bpsta_cli.training.state import Progress

Made = TypeVar("Made")


def by_writer(work: Callable[[], Made], ranks: Ranks | None) -> Made | None:
    """What `work` gives, done by the process that writes alone; None in the others.

    Raises:
        BpstaError: in the process that writes: `work` raised it (or OSError).
        RanksError: in the others then, which are told at once.
    """
    if ranks is None:
        return work()
    made: Made | None = None
    refused: BpstaError | OSError | None = None
    if ranks.writes:
        try:
            made = work()
        except (BpstaError, OSError) as error:
            refused = error
    told = ranks.bytes_of_writer(b"" if refused is None else _in_a_line(refused).encode())
    if refused is not None:
        raise refused
    if told:
        raise RanksError(
            "the first process cannot train in the run directory",
            expected="one that it can use",
            got=told.decode(),
            todo="Its own message says what to do.",
        )
    return made


def _in_a_line(refused: BpstaError | OSError) -> str:
    return f"{refused.problem}: {refused.got}" if isinstance(refused, BpstaError) else str(refused) or "an OSError"


def compare(info: RunInfo, ranks: Ranks) -> None:
    """Hold what every process is about to train against what the first is.

    Raises:
        RanksError: they differ.
    """
    described = info.model_dump_json() + str(info.provenance["code"])
    own = torch.frombuffer(bytearray(hashlib.sha256(described.encode()).digest()), dtype=torch.uint8)
    if others := digests_differ(ranks.gather(own.to(ranks.device))):
        raise RanksError(
            "processes that are to train different runs",
            expected="the same settings, data and code everywhere",
            got=f"others in process {', '.join(map(str, others))} than in the first",
            todo="Give every machine the same checkout and data, and start the same command there.",
        )


def opened(run: RunDir, info: RunInfo, ranks: Ranks | None, *, resume: bool, overwrite: bool, keep_state: bool) -> bool:
    """`open_or_resume` by the process that writes; what it says is told to all."""

    def left_to_train() -> bool:
        return open_or_resume(run, info, resume=resume, overwrite=overwrite, keep_state=keep_state)

    left = by_writer(left_to_train, ranks)
    return bool(left) if ranks is None else ranks.any(bool(left))[0]


def restored(
    run: RunDir, info: RunInfo, learner: Learner, steps: int, *, overwrite: bool
) -> tuple[Progress, list[str]]:
    """How far the run in the directory is; where its checkpoints cannot be used, `overwrite` begins it anew."""
    ranks = learner.ranks
    read = by_writer(lambda: _read(run, info, learner, steps, overwrite=overwrite), ranks)
    progress, warnings = read or (Progress(), [])
    return progress if ranks is None else checkpoint.share(learner, progress, steps, ranks), warnings


def _read(run: RunDir, info: RunInfo, learner: Learner, steps: int, *, overwrite: bool) -> tuple[Progress, list[str]]:
    try:
        return checkpoint.restore(run, learner, steps)
    except RunError as damaged:
        if not overwrite:
            raise
        run.clear()
        run.write_info(info)
        return Progress(), [f"{damaged.got}. The run begins anew."]
