"""Kills single processes of runs over several, starts the run again, and compares what comes out byte for byte.

    python -m tests.rank_kills --count 30

Each trial trains a tiny run over two to four processes. When they have met, one of them is killed, or stopped so that
it hangs, at a random moment. The others must end by themselves. The run is then started again, often with another
number of processes, and killed again up to twice more, before it is left to finish. It counts as different where a file
differs from that of a run by one process that nobody killed, where one is left over, or where the last start fails.
"""

import importlib
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

import bpsta_cli
from bpsta_cli import provenance
from bpsta_cli.cli.main import run
from bpsta_cli.distributed import meeting
from bpsta_cli.training import checkpoint, loop, run_directory  # noqa: F401 - loaded before the first fork
from tests.distributed.rank_processes import exit_codes, start
from tests.kills import Trials, contents

TINY = ["--T", "2", "--epochs", "3", "--warmup-epochs", "1", "--batch-size", "30", "--train-samples", "240"]
DROPOUT, PLAIN = "4C3-MP2-8C3-AP4-8FC-DP-2Voting", "4C3-MP2-8C3-AP4-2Voting"
TRAININGS = {
    "bpsta": ["--network", DROPOUT, "--augmentation", "standard"],
    "bpsa": ["--network", PLAIN, "--selection", "test", "--accumulate", "2", "--method", "bpsa"],
    "stbp": ["--network", DROPOUT, "--selection", "validation", "--method", "stbp", "--norm", "per-step"],
}
SIGNALS = [signal.SIGKILL] * 4 + [signal.SIGTERM, signal.SIGSTOP]
SECONDS = 3.0
"""That one process waits for another."""
PATIENCE = 30.0
"""Seconds after a kill in which all must have ended."""
DIFFERENT_RUNS = ("provenance.json",)  # says how many processes there were


class RankTrials(Trials):
    """Trials of runs over several processes.

    Attributes:
        longest: seconds after a kill in which the others ended, at most.
    """

    longest = 0.0

    def trial(self, kind: str, number: int) -> None:
        """Kill processes of a run of this kind, and let it finish."""
        wanted, seconds = self._without_kill(kind)
        out = self.folder / f"trial-{number}"
        for again in range(self.chance.randint(1, 3)):
            if self._killed(kind, out, self.chance.uniform(0, 1.5 * seconds), again):
                break  # it was over before
        world = self.chance.choice([1, 2, 3])
        codes = exit_codes(self._start(kind, out, world, 9), 300)
        self.judge(f"trial {number}, {kind}", codes, _files(out), wanted)

    def _killed(self, kind: str, out: Path, moment: float, again: int) -> bool:
        """Kill one process after so many seconds; whether the run was over before."""
        world = self.chance.choice([2, 3, 4])
        rank, how = self.chance.randrange(world), self.chance.choice(SIGNALS)
        children = self._start(kind, out, world, again)
        self._wait_until_met(children)
        time.sleep(moment)
        os.kill(children[rank], how)  # not yet waited for: the number is still the child's
        began = time.monotonic()
        others = exit_codes([child for child in children if child != children[rank]], PATIENCE)
        self.longest = max(self.longest, time.monotonic() - began)
        if how == signal.SIGSTOP:
            os.kill(children[rank], signal.SIGKILL)
        over = exit_codes([children[rank]]) + others == [0] * world
        if not over:
            self.counts[f"{how.name}, {'the first' if rank == 0 else 'another'} of {world}"] += 1
        return over

    def _start(self, kind: str, out: Path, world: int, restarts: int) -> list[int]:
        places = ["--data-dir", str(self.folder / "data"), "--checkpoint-minutes", "0", "--out", str(out)]
        command = ["train", "--dataset", "digits", *TINY, *TRAININGS[kind], *places]

        def work(_rank: int) -> int:
            met = meeting.met

            @contextmanager
            def noted(*arguments: Any, **options: Any) -> Iterator[Any]:
                with met(*arguments, **options) as ranks:
                    (self.folder / f"met-{os.getpid()}").touch()
                    yield ranks

            meeting.met = noted
            return run(command)

        return start(world, work, self.folder / "log", restarts=restarts, BPSTA_RANK_SECONDS=str(SECONDS))

    def _wait_until_met(self, children: list[int]) -> None:
        """Before that it is torchrun that ends the others."""
        until = time.monotonic() + 60
        while not all((self.folder / f"met-{child}").exists() for child in children):
            if time.monotonic() > until:
                raise SystemExit(f"the processes did not meet; see {self.folder / 'log'}")
            time.sleep(0.001)

    def _without_kill(self, kind: str) -> tuple[dict[str, bytes], float]:
        if kind not in self.unkilled:
            out, began = self.folder / f"alone-{kind}", time.monotonic()
            if codes := [code for code in exit_codes(self._start(kind, out, 1, 0), 300) if code]:
                raise SystemExit(f"{kind}: exit code {codes[0]} without a kill; see {self.folder / 'log'}")
            self.unkilled[kind] = _files(out), time.monotonic() - began
        return self.unkilled[kind]


def _files(out: Path) -> dict[str, bytes]:
    return {name: content for name, content in contents(out).items() if name not in DIFFERENT_RUNS}


def main(
    count: Annotated[int, typer.Option(min=1, help="How many trials.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
) -> None:
    """Kill single processes of runs at random moments; the exit code is 1 where any came out different."""
    folder = Path(tempfile.mkdtemp(prefix="bpsta-rank-kills-"))
    trials = RankTrials(folder, random.Random(seed))
    run(["prepare", "--dataset", "digits", "--data-dir", str(folder / "data")])
    for module in ("pandas", "sklearn.model_selection", "sklearn.datasets", "torch._dynamo", "rich.progress"):
        importlib.import_module(module)  # kept for the children
    provenance.commit()
    provenance.code_hash()
    bpsta_cli.lif(torch.rand(1, 1, 1))
    for number in range(count):
        trials.trial(list(TRAININGS)[number % len(TRAININGS)], number)
        if number % 5 == 4:
            typer.echo(f"{number + 1} trials, {trials.counts.total()} kills, {len(trials.different)} different")
            sys.stdout.flush()
    for name, number in sorted(trials.counts.items()):
        typer.echo(f"{name}: {number}")
    typer.echo(
        f"{count} trials, {trials.counts.total()} kills, {len(trials.different)} different; "
        f"after a kill the others ended within {trials.longest:.1f} s"
    )
    for line in trials.different:
        typer.echo(line)
    if trials.different:
        typer.echo(f"what they wrote is in {folder}")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
