"""Which jobs were handed out, kept in a file beside their logs, and how each stands.

A job is written down before it is handed to submitit, under names that can be looked for: the name of its SLURM job
and its place in the array, or its folder. So nothing that queues or runs is handed out again, whenever the process
that hands out was killed.
"""

import contextlib
import getpass
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import psutil  # comes with DVC, which looks for processes by it
from logs import last_line

from bpsta_cli import files, locks
from bpsta_cli.errors import BpstaError, SettingsError
from bpsta_cli.reading import documents

Standing = Literal["done", "running", "waiting", "failed"]
CONTROLLER, TASK = "submitit.local._local", "submitit.core._submit"
"""The modules of submitit that a local job's two processes run: one that begins it again, and the job itself."""
QUEUED = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD", "SUSPENDED"}
"""States of a SLURM job that is there and not running."""


@dataclass(frozen=True)
class Handed:
    """Where a job was handed to.

    Attributes:
        executor: slurm, local or debug.
        batch: the name of its SLURM job; the machine's name for the others.
        place: its place in the array; the number of the place at a time, which is that of its GPU, for the others.
    """

    executor: str
    batch: str
    place: int


class Board:
    """The jobs that were handed out; `folder` holds jobs.json, and the logs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file = folder, folder / "jobs.json"
        found = documents.json_object(self.file) if self.file.is_file() else {}
        try:
            self.handed = {name: Handed(**each) for name, each in found.items()}
        except TypeError:
            raise SettingsError(
                "unusable list of jobs",
                expected="what cluster.py writes",
                got=str(self.file),
                todo="Remove it, once nothing of it runs.",
            ) from None

    def log(self, name: str) -> Path:
        """What the job's command says."""
        return self.folder / "logs" / f"{name}.log"

    def receipt(self, stage: str) -> Path:
        """Written when a stage is made."""
        return self.folder / "receipts" / f"{stage}.json"

    def jobs_folder(self, name: str) -> Path:
        """What submitit keeps of a local job, or of an array of SLURM's."""
        return self.folder / "submitit" / name

    def hand(self, new: dict[str, Handed]) -> None:
        """Write down jobs that are about to be handed out; what they said before is put aside."""
        for name in new:
            self.log(name).unlink(missing_ok=True)
        self.handed |= new
        self._write()

    def take_back(self, names: Iterable[str]) -> None:
        """Forget jobs: they were stopped, or not taken, and are handed out again."""
        gone = set(names)
        self.handed = {name: each for name, each in self.handed.items() if name not in gone}
        self._write()

    def _write(self) -> None:
        files.write_json(self.file, {name: asdict(each) for name, each in self.handed.items()})

    def live(self) -> dict[str, Standing]:
        """The jobs that wait in a queue or run.

        Raises:
            BpstaError: SLURM does not answer.
        """
        batches = sorted({each.batch for each in self.handed.values() if each.executor == "slurm"})
        queue = _queue(batches) if batches else {}
        here = set(_local_processes(self.folder / "submitit"))
        found: dict[str, Standing] = {name: "running" for name in self.handed if name in here}
        for name, each in self.handed.items():
            if (each.batch, each.place) in queue:
                found[name] = queue[each.batch, each.place]
        return found

    def said(self, name: str) -> str:
        """The last line of a job's log; of submitit's own where it came to no command."""
        if line := last_line(self.log(name)):
            return line
        each = self.handed[name]
        folder, place = (each.batch, each.place) if each.executor == "slurm" else (name, 0)
        patterns = (f"*_{place}_0_log.err", "[0-9]*_0_log.err")
        logs = [log for pattern in patterns for log in self.jobs_folder(folder).glob(pattern)]
        logs.sort(key=lambda log: log.stat().st_mtime, reverse=True)
        return next((line for log in logs if (line := last_line(log))), "it ended and left no log")

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes from handing out.

        Raises:
            BpstaError: another one does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "handing-out.lock").open("a+") as file:
            try:
                ours = locks.lock(file.fileno(), wait=False)
            except locks.NoLocksError:
                ours = True  # what was handed out is known without a lock too
            if not ours:
                raise BpstaError(
                    "another process hands out these jobs",
                    expected=f"no other at work in {self.folder}",
                    got="one that is at work",
                    todo="Nothing is submitted twice: python pipelines/cluster.py --status shows how they stand.",
                )
            yield


def local_processes(board: Board, names: Iterable[str]) -> dict[str, list[psutil.Process]]:
    """The processes of local jobs, which begin them and which are them, by name."""
    found = _local_processes(board.folder / "submitit")
    return {name: found[name] for name in names if name in found}


def _local_processes(folder: Path) -> dict[str, list[psutil.Process]]:
    wanted, found = folder.absolute(), dict[str, list[psutil.Process]]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = process.cmdline()
            if words and Path(words[-1]).parent == wanted and {CONTROLLER, TASK} & set(words):
                found.setdefault(Path(words[-1]).name, []).append(process)
    return found


def slurm_numbers(board: Board, names: Iterable[str]) -> list[str]:
    """The numbers of the arrays that these jobs are in."""
    batches = sorted({board.handed[name].batch for name in names if board.handed[name].executor == "slurm"})
    return sorted({line.split("|")[3] for line in _squeue(batches)} if batches else ())


def _queue(batches: list[str]) -> dict[tuple[str, int], Standing]:
    """What SLURM has of these jobs, by name and place in the array."""
    found: dict[tuple[str, int], Standing] = {}
    for line in _squeue(batches):
        name, place, state, _ = line.split("|")
        found[name, int(place) if place.isdigit() else 0] = "waiting" if state in QUEUED else "running"
    return found


def _squeue(batches: list[str]) -> list[str]:
    columns = ["--noheader", "--array", "--format=%j|%K|%T|%F"]
    command = ["squeue", f"--user={getpass.getuser()}", f"--name={','.join(batches)}", *columns]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip()
        raise BpstaError(
            "SLURM does not say what it has",
            expected="an answer of squeue",
            got=said.splitlines()[-1] if said else "none",
            todo="Call again where squeue works: without its answer nothing is submitted.",
        ) from None
    return done.stdout.splitlines()
