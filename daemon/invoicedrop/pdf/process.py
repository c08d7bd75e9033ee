"""A process that checks PDFs, as its parent sees it: awaited, asked, killed.

What it runs is `worker`; `template` has it started. The PDF goes there as a descriptor, and a line of JSON comes back;
anything else, or nothing in time, is trouble of the checking.
"""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from invoicedrop.pdf.check.verdict import PdfFacts, Refused, Verdict
from invoicedrop.reasons import Reason
from invoicedrop.system.confinement import Confinement

_START_SECONDS: Final = 60.0
"""For an interpreter to start and import, and for a fork of it, on a machine that is busy with other things."""
_LONGEST_ANSWER: Final = 16_384
_SLOW_PRIORITY: Final = 10
"""Nice value of a suspect: it may use what the others leave."""


class TroubleKind(Enum):
    """How a try can end without a verdict."""

    TIMED_OUT = "timed out"
    CRASHED = "crashed"
    """The process is gone, or what it answers is none of our answers."""
    ERROR = "error"
    """The check raised an error that is no refusal, although good PDFs pass."""
    BROKEN = "broken"
    """The check fails on good PDFs, too."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Trouble of the checking: a file is blamed for it only if good PDFs pass in its place.

    `detail` describes an error: a good PDF's if the check is broken, else in words that fit the file if it is to blame.
    """

    kind: TroubleKind
    detail: str = ""


class CheckProcess:
    """A child of ours that checks PDFs (see `Template.fork`), by our ends of the socket and the pipe to it.

    Used by one thread at a time. `files` is how many it was asked about, `reusable` whether it is good for another one,
    `confinement` what confines it (None until it is ready).
    """

    def __init__(self, connection: socket.socket, lifeline: int) -> None:
        self._connection = connection
        self._lifeline = lifeline
        self._kill_lock = threading.Lock()
        self._pid: int | None = None
        self._gone = False
        self._slowed = False
        self.confinement: Confinement | None = None
        self.files = 0
        self.reusable = False

    def ready(self) -> bool:
        """Wait until the process is there and says hello, once; return whether it has."""
        if self.confinement is None and self._born():
            hello = self._receive(_START_SECONDS)
            with contextlib.suppress(KeyError, TypeError):
                self.confinement = None if isinstance(hello, Trouble) else Confinement(**hello["hello"])
        return self.confinement is not None

    def _born(self) -> bool:
        """Wait until the process is there, and note which one it is; return whether it is there."""
        with contextlib.suppress(OSError):
            self._connection.settimeout(_START_SECONDS)
            if number := self._connection.recv(4):
                with self._kill_lock:
                    self._pid = int.from_bytes(number, "big")
        return self._pid is not None

    def ask(self, fd: int, request: bytes) -> None:
        """Send a question: a line of JSON, and the descriptor that it is about."""
        self.files += 1
        # One that died while it was idle shows in the answer.
        with contextlib.suppress(OSError):
            self._connection.settimeout(_START_SECONDS)
            sent = socket.send_fds(self._connection, [request], [fd])
            if sent < len(request):
                self._connection.sendall(request[sent:])

    def answer(self, seconds: float) -> Verdict | Trouble:
        """Wait for the answer, at most `seconds`; after TIMED_OUT it can be waited for again."""
        self.reusable = False
        answer = self._receive(seconds)
        if isinstance(answer, Trouble):
            return answer
        try:
            outcome = _outcome(answer)
            last = answer["last"]
        except (KeyError, TypeError, ValueError):
            return Trouble(TroubleKind.CRASHED)  # no answer of `worker`: something else speaks there
        self.reusable = not last and not self._slowed
        return outcome

    def _receive(self, seconds: float) -> dict[str, Any] | Trouble:
        deadline = time.monotonic() + seconds
        line = b""
        try:
            while not line.endswith(b"\n"):
                self._connection.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._connection.recv(_LONGEST_ANSWER)
                line += piece
                if not piece or len(line) > _LONGEST_ANSWER:
                    return Trouble(TroubleKind.CRASHED)
            answer = json.loads(line)
        except TimeoutError:
            return Trouble(TroubleKind.TIMED_OUT)
        except (OSError, ValueError):
            return Trouble(TroubleKind.CRASHED)
        return answer if isinstance(answer, dict) else Trouble(TroubleKind.CRASHED)

    def give_way(self) -> None:
        """Give this process a low priority, for good: it may not be raised again."""
        self._slowed = True
        with self._kill_lock, contextlib.suppress(OSError):
            if self._pid is not None and not self._gone:
                os.setpriority(os.PRIO_PROCESS, self._pid, _SLOW_PRIORITY)

    def kill(self) -> None:
        """Kill the process, if it is there, and wait until it is gone; may be called by any thread."""
        with self._kill_lock:
            if self._pid is not None and not self._gone:
                # It has its number until we have waited for it.
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                self._gone = True

    def end(self) -> None:
        """Kill the process, even one that is only being started, and forget it; for the thread that uses it."""
        if self._pid is None:
            self._born()
        self.kill()
        self._connection.close()
        os.close(self._lifeline)


def _outcome(answer: dict[str, Any]) -> Verdict | Trouble:
    """Return what an answer of `worker` means; raises KeyError, TypeError or ValueError if it is none."""
    if "broken" in answer:
        return Trouble(TroubleKind.BROKEN, str(answer["broken"]))
    if "error" in answer:
        return Trouble(TroubleKind.ERROR, str(answer["error"]))
    if "refused" in answer:
        return Refused(Reason(answer["refused"]["reason"]), str(answer["refused"]["detail"]))
    return PdfFacts(**answer["facts"])
