"""Signals that ask a training to stop: it finishes the step that runs and writes a checkpoint; a second one ends it."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
SAID = b"\nbpsta: stopping after this step, with a checkpoint; a second signal ends it at once\n"


class StoppedCommand(Exception):  # noqa: N818 - no error: the command did what it was asked to
    """A command stopped as it was asked to and has said so; it ends with this exit code."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code


class Interruption:
    """While it is open, the first signal is only noted; a context manager.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored.
    """

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            for each in SIGNALS:
                if signal.getsignal(each) is not signal.SIG_IGN:
                    self._before[each] = signal.signal(each, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def asked(self) -> bool:
        """Whether there was a signal."""
        return self.number != 0

    @property
    def exit_code(self) -> int:
        """What a shell expects of a command that a signal ended: 143 for SIGTERM, 130 for SIGINT, 129 for SIGHUP.

        Where another process of the run got the signal, as for SIGTERM.
        """
        return 128 + (self.number or signal.SIGTERM)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        for each in self._before:
            signal.signal(each, signal.SIG_DFL)
        os.write(2, SAID)  # no console: it may be in the middle of a line
