"""What a job of pipelines/cluster.py does where it runs: a command, which it ends and begins again.

submitit puts a job into a file and calls it on the machine where its turn comes, with `checkpoint` where that machine
takes it away (time is up, or somebody else goes before). It does not do that for its own `CommandFunction`.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import logs
from logs import last_line

if TYPE_CHECKING:
    import submitit

PATIENCE = 130.0
"""Seconds that a command has to save its state; pipelines/stage.py ends by itself after 120."""
GRACE = 60.0
"""Seconds after which a job goes on whose command somebody else asked to stop."""
STOP = signal.SIGUSR1
"""Asks a command to stop: once for a training, however often it comes (pipelines/stage.py); others end at once."""
ASKED = {number for each in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, STOP) for number in (128 + each, -each)}
"""Exit codes of a command that was asked to stop."""


class JobFailed(Exception):  # noqa: N818 - the name of what happened
    """A command failed; the text is the last line that it said."""


class Job:
    """The command that makes one run.

    A cluster's signals reach every process of a job, this one's child too. USR2 is blocked in it, as `checkpoint` asks
    it to stop. At any other signal it stops by itself, and is begun again should this process be left alone.

    Args:
        name: of the run.
        command: its arguments; it goes on where it was stopped, and does nothing where it is done.
        root: the folder in which it runs.
        log: the file to which it writes what it says.
    """

    def __init__(self, name: str, command: Sequence[str], root: Path, log: Path) -> None:
        self.name, self.command = name, list(command)
        self.root, self.log = str(root), str(log)
        self._child: int | None = None

    def __call__(self) -> None:
        """Run the command.

        Raises:
            JobFailed: it failed.
        """
        while (code := self._run()) in ASKED:
            self._note("stopped by a signal that this job does not know of: it goes on after a while")
            time.sleep(GRACE)  # a cluster that wants it away says so to this process meanwhile, or kills it
        if code < 0:
            self._note(f"killed by signal {-code}" + (": out of memory?" if code == -signal.SIGKILL else ""))
        if code:
            raise JobFailed(last_line(Path(self.log)) or f"exit code {code}")

    def checkpoint(self) -> "submitit.helpers.DelayedSubmission":
        """Stop the command, once it has saved its state; the job goes on with the same one."""
        import submitit

        self._stop()
        return submitit.helpers.DelayedSubmission(self)

    def _run(self) -> int:
        Path(self.log).parent.mkdir(parents=True, exist_ok=True)
        with Path(self.log).open("ab") as log:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {_taken_away()})
            try:
                child = subprocess.Popen(
                    self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=self.root
                )
                self._child = child.pid
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.waitid(
            os.P_PID, child.pid, os.WEXITED | os.WNOWAIT
        )  # holds no lock of Popen's, which `_stop` would wait for
        return child.wait()

    def _stop(self) -> None:
        deadline = time.monotonic() + PATIENCE
        try:
            if self._child is not None:
                os.kill(self._child, STOP)
                while os.waitid(os.P_PID, self._child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                    if time.monotonic() > deadline:
                        os.kill(self._child, signal.SIGKILL)
                    time.sleep(0.05)
        except (ChildProcessError, ProcessLookupError):
            pass  # it has ended
        self._child = None

    def _note(self, text: str) -> None:
        with Path(self.log).open("a", encoding="utf-8") as log:
            log.write(f"{self.name}: {text}\n")


def _taken_away() -> signal.Signals:
    """The signal that submitit understands as: this machine is taken away."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


def carried_along() -> None:
    """Have this code put into the job's file: the machine that runs it does not look for modules in pipelines/."""
    import cloudpickle

    for module in (sys.modules[__name__], logs):
        cloudpickle.register_pickle_by_value(module)
