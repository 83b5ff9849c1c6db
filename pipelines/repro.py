"""`make repro`: `dvc repro` with the runs of params.yaml side by side, and without the data sets that are not at hand.

    python pipelines/repro.py --jobs 4

Every run is of one thread, so as many run at a time as there are cores. A data set that cannot be prepared leaves its
runs out; the report names them. What is done is what `dvc repro` does and in the same files: either may go on after the
other, and after a kill.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import dvc_locks
import typer

from bpsta_cli.config import Params, Run, load_params
from bpsta_cli.errors import SettingsError

PARAMS, STORES = Path("params.yaml"), Path("data/stores")
CORES = len(os.sched_getaffinity(0))
STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PATIENCE = 120.0
"""Seconds that a training has to save its state."""
COMPILE = Path(__file__).with_name("compile_kernels.py")
FIRST = ("params-check", "code-train", "code-measure", "prepare")
LAST = ("metrics", "report")
"""What all runs depend on, and what is made of all of them, or of those that are there."""


def stage_of(study: Params, name: str) -> str:
    """The stage that trains one run and, of those to be measured, measures it."""
    return f"{'train-only' if name in study.train_only else 'train'}@{name}"


def shares(runs: list[Run], jobs: int) -> list[list[Run]]:
    """The runs divided among `jobs` processes, so that each has about as many of every recipe, T and method."""
    alike = sorted(runs, key=lambda run: (run.recipe, run.T, run.method, run.seed))
    return [share for share in (alike[job::jobs] for job in range(jobs)) if share]


def unprepared(study: Params) -> list[str]:
    """The recipes whose runs have no data."""
    return [
        recipe
        for recipe in study.datasets
        if not all((STORES / recipe / f"T{run.T}.json").is_file() for run in study.runs_with(recipe))
    ]


class Processes:
    """The `dvc` processes that were started, and a compiler; none outlives this one unless that is killed outright."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []
        adopt_orphans()

    def start(self, *arguments: str) -> None:
        """Start `dvc`; where another one holds DVC's lock for a moment it waits."""
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", *arguments]
        self.running.append(subprocess.Popen(command, start_new_session=True))

    def compile_kernels(self) -> None:
        """Have them compiled while data are prepared, so that the first trainings need not wait for it."""
        self.running.append(subprocess.Popen([sys.executable, str(COMPILE)], start_new_session=True))

    def wait(self) -> bool:
        """Wait for all; True if all succeeded."""
        codes = [process.wait() for process in self.running]
        self.running.clear()
        return not any(codes)

    def end(self, seconds: float = PATIENCE) -> None:
        """End all, with the commands that they run, and wait until they have saved their state and are gone.

        DVC writes its files in place, and is ended where it is not writing them. What takes longer than `seconds` is
        killed, and so is everything at another signal.
        """
        if not any(process.poll() is None for process in self.running):
            return
        say("stopping, once nothing is half-written; another signal stops at once")
        for number in STOPPING:
            signal.signal(number, lambda *_: self._send(signal.SIGKILL))
        with dvc_locks.quiet():
            self._send(signal.SIGTERM)
            for process in self.running:
                process.wait()
        deadline = time.monotonic() + seconds
        while self._anything_left():
            if time.monotonic() > deadline:
                self._send(signal.SIGKILL)
            time.sleep(0.02)
        dvc_locks.mend(tuple(process.pid for process in self.running))

    def _send(self, number: int) -> None:
        for process in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _anything_left(self) -> bool:
        """Whether a command that a `dvc` ran is still there; those that ended are collected."""
        left = False
        for process in self.running:
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-process.pid, os.WNOHANG)[0]:
                    pass
                left = True
        return left


def adopt_orphans() -> None:
    """Have the system make this process the parent of commands whose `dvc` has ended, so that it can wait for them."""
    PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_CHILD_SUBREAPER, 1)


def changed_stages() -> set[str]:
    """The stages that are not what dvc.lock says, by DVC."""
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "status", "--json"], stdout=subprocess.PIPE, check=False
    )
    if status.returncode:
        raise SystemExit(status.returncode)
    return set(json.loads(status.stdout))


def changed_runs(study: Params) -> tuple[bool, list[Run]]:
    """Whether anything is left to do, and the runs whose stage is to be done."""
    changed = changed_stages()
    names = {stage.partition("@")[2] for stage in changed}
    return bool(changed), [run for name, run in study.runs.items() if name in names]


def regenerate(study: Params, jobs: int, dvc: Processes) -> int:
    """Bring everything up to date that can be; the exit code is 1 where a stage failed that had its data."""
    dvc.compile_kernels()
    dvc.start("repro", "--keep-going", *FIRST)
    dvc.wait()
    missing = unprepared(study)
    anything, runs = changed_runs(study)
    if not anything:
        say("nothing to do: every result is of these settings, this code and these data")
        return 0
    runs = [run for run in runs if run.recipe not in missing]
    for share in shares(runs, jobs) if jobs > 1 else []:
        dvc.start("repro", "--single-item", "--keep-going", *(stage_of(study, run.name) for run in share))
    dvc.wait()
    if not missing:
        dvc.start("repro", "--keep-going")  # one pass in DVC's own order over what is left, and the report
        return 0 if dvc.wait() else failed()
    there = [name for name, run in study.runs.items() if run.recipe not in missing]
    if there:
        dvc.start("repro", "--keep-going", *(stage_of(study, name) for name in there))
    whole = dvc.wait()
    dvc.start("repro", "--single-item", "--keep-going", *LAST)
    whole = dvc.wait() and whole
    say(f"no data for {', '.join(missing)} (why is said above): their runs are left out, and the tables name them")
    return 0 if whole else failed()


def failed() -> int:
    """Say so."""
    say("a stage failed (see above); the others are done. `make repro` goes on from here")
    return 1


def say(text: str) -> None:
    """Print at once, between the lines of the processes."""
    typer.echo(f"repro: {text}")


def run(jobs: int) -> int:
    """Bring everything up to date, and leave no process behind; returns the exit code."""
    for number in STOPPING:
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    dvc = Processes()
    try:
        for line in dvc_locks.mend():
            say(line)
        return regenerate(load_params(PARAMS), jobs, dvc)
    except SettingsError as error:
        say(str(error))
        return 2
    finally:
        dvc.end()


def main(
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time; by default one a core.")] = CORES,
) -> None:
    """Bring the results of params.yaml up to date, runs side by side; either this or `dvc repro` may go on."""
    raise typer.Exit(run(jobs))


if __name__ == "__main__":
    typer.run(main)
