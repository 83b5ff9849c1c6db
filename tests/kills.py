"""Kills trainings and preparations at random moments, starts them again, and compares what comes out byte for byte.

    python -m tests.kills --count 200

Each trial is killed one to three times, by SIGKILL or by a signal that asks it to stop, and then left to finish. It
counts as different where a file differs from that of a run that nobody killed, where one is left over, or where the
last command fails. Processes are forked from one that has loaded torch, so that a trial takes about a second.
"""

import importlib
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Annotated

import torch
import typer

import bpsta_cli
from bpsta_cli import provenance
from bpsta_cli.cli.main import run
from bpsta_cli.training import checkpoint, loop, run_directory  # noqa: F401 - loaded before the first fork
from tests.data.data_files import write_mnist, write_n_mnist

TINY = ["--T", "2", "--epochs", "3", "--warmup-epochs", "1", "--batch-size", "30", "--train-samples", "240"]
DROPOUT, PLAIN = "4C3-MP2-8C3-AP4-8FC-DP-2Voting", "4C3-MP2-8C3-AP4-2Voting"
TRAININGS = {
    "plain": ["--network", PLAIN],
    "dropout and augmentation": ["--network", DROPOUT, "--augmentation", "standard", "--method", "bpsa"],
    "test selection, parts": ["--network", PLAIN, "--selection", "test", "--accumulate", "2", "--norm", "per-step"],
    "validation, recomputed": ["--network", DROPOUT, "--selection", "validation", "--recompute", "--method", "stbp"],
    "twin": ["--network", PLAIN, "--method", "ann"],
    "float16": ["--network", PLAIN, "--precision", "float16", "--clip-norm", "0.5"],
    "sparse, every other": ["--network", DROPOUT, "--convolution", "auto", "--evaluate-every", "2"],
}
PREPARATIONS = {
    "digits": ["--dataset", "digits"],
    "images": ["--dataset", "mnist"],
    "recordings": ["--dataset", "n-mnist", "--T", "20"],
}
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]
VOLATILE = ("timings.json",)
MOST_KILLS = 3


class Trials:
    """Trials of one folder.

    Args:
        folder: for everything that is written.
        chance: decides what is killed, when and how.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        self.counts: Counter[str] = Counter()
        self.different: list[str] = []
        self.unkilled: dict[str, tuple[dict[str, bytes], float]] = {}

    def judge(self, trial: str, codes: list[int], found: dict[str, bytes], wanted: dict[str, bytes]) -> bool:
        """Whether what was left to finish did, with the files of one that nobody killed; else it is noted."""
        if any(codes):
            self.different.append(f"{trial}: exit codes {codes}")
        elif found != wanted:
            names = [name for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
            self.different.append(f"{trial}: {', '.join(sorted(names))}")
        return not any(codes) and found == wanted


class CommandTrials(Trials):
    """Trials of commands of one process."""

    def training(self, kind: str, number: int) -> None:
        """Kill a training of this kind, and let it go on."""
        data = self.folder / "data"
        minutes = self.chance.choice(["0", "0.0005", "10"])
        places = ["--data-dir", str(data), "--checkpoint-minutes", minutes]
        command = ["train", "--dataset", "digits", *TINY, *TRAININGS[kind], *places, "--out"]
        self._trial(f"train: {kind}", number, command, "")

    def preparation(self, kind: str, number: int) -> None:
        """Kill a preparation of this kind, and start it again."""
        source = [] if kind == "digits" else ["--source", str(self.folder / kind)]
        self._trial(f"prepare: {kind}", number, ["prepare", *PREPARATIONS[kind], *source, "--data-dir"], "prepared")

    def _trial(self, kind: str, number: int, command: list[str], inside: str) -> None:
        wanted, seconds = self._without_kill(kind, command, inside)
        out = self.folder / f"trial-{number}"
        for _ in range(self.chance.randint(1, MOST_KILLS)):
            how, moment = self.chance.choice(SIGNALS), self.chance.uniform(0, seconds)
            code = self._killed([*command, str(out)], how, moment)
            if code == 0:
                break  # it was over before
            self.counts[f"{kind}, {how.name}"] += 1
        code = self._killed([*command, str(out)], None, 0)
        if self.judge(f"trial {number}, {kind}", [code], contents(out / inside), wanted):
            os.system(f"rm -rf '{out}'")

    def _without_kill(self, kind: str, command: list[str], inside: str) -> tuple[dict[str, bytes], float]:
        if kind not in self.unkilled:
            out = self.folder / f"unkilled-{len(self.unkilled)}"
            began = time.monotonic()
            if code := self._killed([*command, str(out)], None, 0):
                raise SystemExit(f"{kind}: exit code {code} without a kill; see {self.folder / 'log'}")
            self.unkilled[kind] = contents(out / inside), time.monotonic() - began
        return self.unkilled[kind]

    def _killed(self, arguments: list[str], how: signal.Signals | None, moment: float) -> int:
        """The exit code of a command that gets a signal after so many seconds; 0 where it was over before."""
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            with (self.folder / "log").open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            code = 70
            try:
                code = run(arguments)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        if how is not None:
            time.sleep(moment)
            os.kill(child, how)  # not yet waited for: the number is still the child's
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in a folder but those that differ between equal runs."""
    return {
        str(file.relative_to(folder)): b"" if file.name in VOLATILE or file.suffix == ".lock" else file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def trials(count: int, seed: int, folder: Path) -> CommandTrials:
    """So many trials, three of four of trainings; returns what they came to."""
    done = CommandTrials(folder, random.Random(seed))
    began = time.monotonic()
    run(["prepare", "--dataset", "digits", "--data-dir", str(folder / "data")])
    write_mnist(folder / "images", train=3000, test=500)
    write_n_mnist(folder / "recordings", train=60, test=20)
    # kept for the children: what takes long and is the same for all
    for module in ("pandas", "sklearn.model_selection", "sklearn.datasets", "torch._dynamo", "rich.progress"):
        importlib.import_module(module)
    provenance.commit()
    provenance.code_hash()
    bpsta_cli.lif(torch.rand(1, 1, 1))
    for number in range(count):
        if number % 4:
            done.training(list(TRAININGS)[number % len(TRAININGS)], number)
        else:
            done.preparation(list(PREPARATIONS)[number % len(PREPARATIONS)], number)
        if number % 10 == 9:
            typer.echo(
                f"{number + 1} trials, {done.counts.total()} kills, {len(done.different)} different, "
                f"{time.monotonic() - began:.0f} s"
            )
            sys.stdout.flush()
    return done


def main(
    count: Annotated[int, typer.Option(min=1, help="How many trials.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the random moments.")] = 0,
) -> None:
    """Kill trainings and preparations at random moments; the exit code is 1 where any came out different."""
    folder = Path(tempfile.mkdtemp(prefix="bpsta-kills-"))
    done = trials(count, seed, folder)
    for name, number in sorted(done.counts.items()):
        typer.echo(f"{name}: {number} kills")
    typer.echo(f"{count} trials, {done.counts.total()} kills, {len(done.different)} different")
    for line in done.different:
        typer.echo(line)
    if done.different:
        typer.echo(f"what they wrote is in {folder}")
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
