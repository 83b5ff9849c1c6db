"""Trains the runs of a params.yaml without DVC, several at a time and one thread each.

    python pipelines/grid.py pipelines/rules.yaml --out runs/rules --jobs 2 --deadline 3600

What is finished by the same settings is left as it is, and what was stopped goes on: the same command may be given
again. Seed after seed, and of one seed the longest runs first: where time runs out, whole seeds are missing rather than
parts of each, so that methods stay comparable seed by seed.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from logs import last_line

from bpsta_cli.cli.output import print_error
from bpsta_cli.config import Params, Run, RunSettings, load_params
from bpsta_cli.errors import BpstaError
from bpsta_cli.rules import TWIN

CORES = len(os.sched_getaffinity(0))
STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
FAILED, UNFINISHED = 1, 3
"""Exit codes: a run failed; time was up, or a signal came, before all were trained."""


@dataclass(frozen=True)
class Trained:
    """How one training ended.

    Attributes:
        seconds: what this process took; a run that went on took more before.
        problem: the last line of the log where it failed; empty where it did not.
        finished: False where it failed, was stopped, or was not begun for want of time.
    """

    seconds: float
    problem: str = ""
    finished: bool = True


class Trainings:
    """Processes of `bpsta train`; `stop` asks those that run to save their state, and no other begins."""

    def __init__(self) -> None:
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self.stopped = False

    def names(self) -> list[str]:
        """What is being trained."""
        with self._lock:
            return list(self._running)

    def train(self, name: str, arguments: Iterable[str], log: Path) -> Trained:
        """Run `bpsta train` with these arguments to its end; `log` takes what it says."""
        began = time.monotonic()
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            with self._lock:
                if self.stopped:
                    return Trained(0.0, finished=False)
                process = self._running[name] = subprocess.Popen(
                    [sys.executable, "-m", "bpsta_cli", "train", "--threads", "1", *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    env=os.environ | ONE_THREAD,
                    start_new_session=True,  # a key that interrupts this process is no second signal to a training
                )
            code = process.wait()
        with self._lock:
            del self._running[name]
        asked = self.stopped and code in {128 + signal.SIGTERM, -signal.SIGTERM}
        problem = "" if code == 0 or asked else last_line(log) or f"exit code {code}"
        return Trained(time.monotonic() - began, problem, finished=code == 0)

    def stop(self) -> None:
        """Have those that run write a checkpoint and end; begin no other."""
        with self._lock:
            if not self.stopped:
                self.stopped = True
                for process in self._running.values():
                    process.terminate()


@contextlib.contextmanager
def until_stopped(trainings: Trainings) -> Iterator[None]:
    """While it is open, a signal stops the trainings."""
    before = {number: signal.signal(number, lambda *_: trainings.stop()) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def follow(trainings: Trainings, futures: Iterable[Future[None]], deadline: float, say: Callable[[str], None]) -> None:
    """Wait for all; at `deadline` (of time.monotonic), and at a signal, trainings are asked to stop.

    Raises:
        BaseException: what went wrong in one of them, after the others have ended.
    """
    left = set(futures)
    with until_stopped(trainings):
        while left:
            done, left = wait(left, timeout=1.0, return_when=FIRST_COMPLETED)
            if any(not future.cancelled() and future.exception() for future in done):
                trainings.stop()
            if time.monotonic() > deadline and not trainings.stopped:
                say("time is up: the trainings that run save their state")
                trainings.stop()
            if trainings.stopped:
                for future in left:
                    future.cancel()
    for future in futures:
        if not future.cancelled():
            future.result()


def in_order(runs: Iterable[Run], study: Params) -> list[Run]:
    """Seed after seed; of one seed the longest first, by epochs x T x samples, where the number of these is said."""

    def key(run: Run) -> tuple[int, int]:
        data = study.recipe_of(run.recipe)
        return run.seed, -data.epochs * (1 if run.method == TWIN else run.T) * (data.train_samples or 1)

    return sorted(runs, key=key)


def is_finished(folder: Path, settings: RunSettings) -> bool:
    """Whether a run of these settings is finished there; of which data and code is not looked at."""
    if not (folder / "metrics.json").is_file():
        return False
    try:
        recorded = json.loads((folder / "settings.json").read_text(encoding="utf-8"))["settings"]
        return bool(RunSettings.model_validate(recorded) == settings)
    except (OSError, ValueError, LookupError, TypeError, BpstaError):
        return False  # `bpsta train` says what is wrong with it


def train_all(params: Path, out: Path, *, data: Path, only: str, jobs: int, seconds: float, overwrite: bool) -> int:
    """Train what is missing; returns the exit code."""
    deadline = time.monotonic() + seconds
    study = load_params(params)
    chosen = [run for run in study.runs.values() if re.search(only, run.name)]
    waiting = [run for run in in_order(chosen, study) if not is_finished(out / run.name, study.settings_of(run))]
    say(f"{len(chosen)} runs, {len(chosen) - len(waiting)} of them finished before")
    trainings, failed, done = Trainings(), dict[str, str](), [0]

    def train(run: Run) -> None:
        named = ["--params", str(params), "--run", run.name, "--out", str(out / run.name), "--data-dir", str(data)]
        again = ["--resume", "--overwrite"] if overwrite else []
        ended = trainings.train(run.name, [*named, *again], out / "logs" / f"{run.name}.log")
        if ended.problem:
            failed[run.name] = ended.problem
        if ended.finished:
            done[0] += 1
        if ended.seconds:
            what = "failed" if ended.problem else "done" if ended.finished else "stopped"
            counts = f"{done[0]} of {len(waiting)} done, {len(failed)} failed"
            say(f"{counts}; {run.name} {what} after {ended.seconds:.0f} s; now {', '.join(trainings.names()) or '-'}")

    with ThreadPoolExecutor(jobs) as pool:
        follow(trainings, [pool.submit(train, run) for run in waiting], deadline, say)
    for name, problem in failed.items():
        say(f"failed: {name}: {problem} ({out / 'logs' / name}.log)")
    if left := len(waiting) - done[0] - len(failed):
        say(f"{left} runs are left; the same command goes on")
    return FAILED if failed else UNFINISHED if left else 0


def say(text: str) -> None:
    """One line, with the time of day, at once."""
    typer.echo(f"{time.strftime('%H:%M:%S')} {text}")


def main(
    params: Annotated[Path, typer.Argument(help="The params.yaml whose runs are trained.")],
    out: Annotated[Path, typer.Option(help="Folder for a run directory a run, and logs.")],
    data_dir: Annotated[Path, typer.Option(help="Folder with raw and prepared data.")] = Path("data"),
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time; by default one a core.")] = CORES,
    only: Annotated[str, typer.Option(metavar="REGEX", help="Train the runs whose names this finds.")] = "",
    deadline: Annotated[
        float, typer.Option(metavar="SECONDS", help="After so long no run begins, and those that run are stopped.")
    ] = float("inf"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace runs of other settings in --out.")] = False,
) -> None:
    """Train the runs of a params.yaml that are not finished, side by side."""
    try:
        code = train_all(params, out, data=data_dir, only=only, jobs=jobs, seconds=deadline, overwrite=overwrite)
    except re.error as error:
        print_error(f"--only is no regular expression: {error}")
        raise typer.Exit(2) from None
    except BpstaError as error:
        print_error(str(error))
        raise typer.Exit(2) from None
    raise typer.Exit(code)


if __name__ == "__main__":
    typer.run(main)
