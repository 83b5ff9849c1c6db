"""Hands jobs to submitit: all at once to SLURM, which keeps order; as places become free to this machine."""

import contextlib
import signal
import socket
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from cluster_board import CONTROLLER, Board, Handed, local_processes
from cluster_job import PATIENCE, Job, carried_along

from bpsta_cli.errors import SettingsError
from bpsta_cli.packages import require

if TYPE_CHECKING:
    from types import ModuleType

SIGNAL_BEFORE = 180
"""Seconds before a job's time is up at which it is told so: a training finishes its step and writes a checkpoint."""
TIMEOUTS = 100
"""How often a job's time may run out; each goes on where the one before stopped."""
STOPPING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
FAR = 7 * 24 * 60
"""Minutes of a job on this machine, where nothing takes it away."""


@dataclass(frozen=True)
class Wishes:
    """What a job needs.

    Attributes:
        at_once: jobs that run at the same time, at most.
        gpus: of a job.
        cpus: of a job.
        memory: of a job, in GB; None: what the cluster gives.
        minutes: after which a job is taken away, and goes on in a new one.
        slurm: other options of sbatch.
    """

    at_once: int
    gpus: int = 0
    cpus: int = 1
    memory: float | None = None
    minutes: int = 1440
    slurm: Mapping[str, str] = field(default_factory=dict)


def _submitit() -> "ModuleType":
    """Submitit, with our code put into the files by which it hands jobs on.

    Raises:
        SettingsError: submitit is not installed.
    """
    require("submitit")
    import submitit

    carried_along()
    return submitit


def to_slurm(jobs: Sequence[Job], board: Board, wishes: Wishes, *, after: Sequence[str] = ()) -> str:
    """Submit an array of jobs, which begin when the arrays `after` have ended, well or not; returns its number.

    Raises:
        SettingsError: SLURM does not take them.
    """
    batch = f"bpsta-{uuid.uuid4().hex[:8]}"
    executor = _submitit().AutoExecutor(
        board.jobs_folder(batch).absolute(), cluster="slurm", slurm_max_num_timeout=TIMEOUTS
    )
    optional: dict[str, Any] = {} if wishes.memory is None else {"mem_gb": wishes.memory}
    optional |= {"gpus_per_node": wishes.gpus} if wishes.gpus else {}
    optional |= {"slurm_dependency": ",".join(f"afterany:{number}" for number in after)} if after else {}
    executor.update_parameters(
        name=batch,
        timeout_min=wishes.minutes,
        cpus_per_task=wishes.cpus,
        slurm_array_parallelism=wishes.at_once,
        slurm_signal_delay_s=SIGNAL_BEFORE,
        slurm_additional_parameters={"requeue": True, **wishes.slurm},
        **optional,
    )
    board.hand({job.name: Handed("slurm", batch, place) for place, job in enumerate(jobs)})
    try:
        with executor.batch():
            handed = [executor.submit(job) for job in jobs]
    except RuntimeError as refused:  # what submitit makes of an sbatch that fails
        board.take_back(job.name for job in jobs)
        raise SettingsError(
            "SLURM does not take the jobs",
            expected="a number from sbatch",
            got=(str(refused).strip().splitlines() or ["nothing"])[-1],
            todo="Correct --slurm, --gpus, --memory or --minutes.",
        ) from None
    return handed[0].job_id.partition("_")[0]


def here_and_now(jobs: Sequence[Job], board: Board) -> None:
    """Run the jobs in this process, one after the other."""
    for job in jobs:
        executor = _submitit().DebugExecutor(board.jobs_folder(job.name))
        board.hand({job.name: Handed("debug", socket.gethostname(), 0)})
        executor.submit(job).exception()  # the log has it


class OnThisMachine:
    """Runs jobs of submitit's local executor, which begins each at once: so many at a time, a GPU each where asked for.

    The jobs are processes of their own. Those that another process began before it was killed are left to run, and are
    counted.
    """

    def __init__(self, board: Board, wishes: Wishes, say: Callable[[str], None]) -> None:
        self.board, self.wishes, self.say = board, wishes, say
        self.stopped = False
        self._begun: dict[str, Any] = {}

    def run(self, jobs: Sequence[Job], after: Mapping[str, str] | None = None) -> None:
        """Run all; a job begins when the one that `after` names for it has ended. Stops at a signal.

        Args:
            jobs: in their order.
            after: a job's name -> another's.
        """
        waiting, after = {job.name: job for job in jobs}, after or {}
        with self._until_stopped():
            while not self.stopped:
                live = self._live()
                for name in self._begun.keys() - live:
                    self._begun.pop(name).wait()  # collects the process, which is about to end
                    self.say(f"{name} ended: {self.board.said(name)}")
                if not waiting and not live:
                    return
                blocked = waiting.keys() | live
                for place in sorted(set(range(self.wishes.at_once)) - {self.board.handed[name].place for name in live}):
                    ready = (name for name in waiting if after.get(name) not in blocked and name not in live)
                    if (name := next(ready, None)) is not None:
                        self._begin(waiting.pop(name), place)
                        blocked.add(name)
                time.sleep(0.5)
            self._stop()

    def _live(self) -> set[str]:
        return {name for name, standing in self.board.live().items() if self.board.handed[name].executor == "local"}

    def _begin(self, job: Job, place: int) -> None:
        folder = self.board.jobs_folder(job.name).absolute()
        executor = _submitit().LocalExecutor(folder, max_num_timeout=TIMEOUTS)
        each = self.wishes.gpus
        own = list(range(place * each, (place + 1) * each))
        executor.update_parameters(timeout_min=FAR, gpus_per_node=each, visible_gpus=own or ())
        self.board.hand({job.name: Handed("local", socket.gethostname(), place)})
        self.say(f"{job.name} begins in place {place}")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:  # a key that interrupts this process does not reach the job: it is told below
            self._begun[job.name] = executor.submit(job)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _stop(self) -> None:
        """Have the jobs save their state and end. Without its controller a job is not begun again."""
        self.say("stopping: the jobs that run save their state")
        tasks = []
        names = self._live()
        for processes in local_processes(self.board, names).values():
            for process in sorted(processes, key=lambda each: CONTROLLER not in each.cmdline()):
                with contextlib.suppress(psutil.Error):
                    if CONTROLLER in process.cmdline():
                        process.kill()
                    else:
                        process.send_signal(signal.SIGUSR2)
                        tasks.append(process)
        psutil.wait_procs(tasks, timeout=PATIENCE)
        for job in self._begun.values():
            job.wait()
        self.board.take_back(names)

    @contextlib.contextmanager
    def _until_stopped(self) -> Iterator[None]:
        def note(*_: object) -> None:
            self.stopped = True

        before = {number: signal.signal(number, note) for number in STOPPING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
