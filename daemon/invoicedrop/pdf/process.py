"""A process that checks PDFs, as its parent sees it: started with nothing that it does not need, asked, killed.

What it runs is `worker`. The PDF goes there as a descriptor, and a line of JSON comes back; anything else, or nothing
in time, is trouble of the checking.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any, Final, Self

from invoicedrop.pdf.check.verdict import PdfFacts, Refused, Verdict
from invoicedrop.reasons import Reason
from invoicedrop.system.confinement import Confinement

_START_SECONDS: Final = 60.0
"""For the interpreter to start and import, on a machine that is busy with other things."""
_LONGEST_ANSWER: Final = 16_384
_SLOW_PRIORITY: Final = 10
"""Nice value of a suspect: it may use what the others leave."""
_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PATH": ""}
"""Without our secrets. An empty PATH has no programs; without one, the system's folders would be searched."""
_BOOTSTRAP: Final = (
    "import json, sys; path, options = json.loads(sys.argv.pop()); sys.path[:] = path; "
    "from invoicedrop.pdf.worker import main; main(**options)"
)


class TroubleKind(Enum):
    """How a try can end without a verdict."""

    TIMED_OUT = "timed out"
    CRASHED = "crashed"
    """The process is gone, or what it answers is none of our answers."""
    ERROR = "error"
    """The check raised an error that is no refusal."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Trouble of the checking: a file is blamed for it only if a good PDF passes in its place.

    `detail` describes an error, in words that fit the file if it is to blame.
    """

    kind: TroubleKind
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a checking process is started with: the arguments of `worker.main`, which explains them."""

    check: str
    memory_mb: int


class CheckProcess:
    """A process that checks PDFs (see `start`), and our ends of the socket and the pipe to it.

    Used by one thread at a time. `files` is how many it was asked about, `reusable` whether it is good for another one,
    `confinement` what confines it (None until it is ready).
    """

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, lifeline: int) -> None:
        self._process = process
        self._connection = connection
        self._lifeline = lifeline
        self._kill_lock = threading.Lock()
        self._slowed = False
        self.confinement: Confinement | None = None
        self.files = 0
        self.reusable = False

    @classmethod
    def start(cls, options: WorkerOptions) -> Self:
        """Start a process, without waiting until it is ready.

        Raises:
            OSError: it cannot be started.

        """
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            # Nothing is ever written there: when our end is closed, or we are dead, the child ends.
            their_lifeline, lifeline = os.pipe()
            on_failure.callback(os.close, lifeline)
            # Our own module path, because -I (which keeps the environment and the current folder out) would not find a
            # package that was installed for one user only; -S saves the time of working it out again.
            path = [entry for entry in sys.path if entry]
            arguments = json.dumps([path, {"lifeline": their_lifeline, **asdict(options)}])
            try:
                # Its own session: Ctrl-C on the terminal is for us to handle.
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, arguments],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[their_lifeline],
                    env=_ENVIRONMENT,
                    cwd="/",
                    start_new_session=True,
                )
            finally:
                os.close(their_lifeline)
            on_failure.pop_all()
        return cls(process, ours, lifeline)

    def ready(self) -> bool:
        """Wait for the child's hello, once; return whether it came."""
        if self.confinement is None:
            hello = self._receive(_START_SECONDS)
            with contextlib.suppress(KeyError, TypeError):
                self.confinement = None if isinstance(hello, Trouble) else Confinement(**hello["hello"])
        return self.confinement is not None

    def ask(self, fd: int, request: bytes) -> None:
        """Send a question: a line of JSON, and the descriptor that it is about."""
        self.files += 1
        # One that died while it was idle shows in the answer.
        with contextlib.suppress(OSError):
            self._connection.settimeout(_START_SECONDS)
            sent = socket.send_fds(self._connection, [request], [fd])
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
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _SLOW_PRIORITY)

    def kill(self) -> None:
        """Kill the process and wait until it is gone; may be called by any thread."""
        with self._kill_lock:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """Kill the process and forget it; for the thread that uses it."""
        self.kill()
        self._connection.close()
        os.close(self._lifeline)


def _outcome(answer: dict[str, Any]) -> Verdict | Trouble:
    """Return what an answer of `worker` means; raises KeyError, TypeError or ValueError if it is none."""
    if "error" in answer:
        return Trouble(TroubleKind.ERROR, str(answer["error"]))
    if "refused" in answer:
        return Refused(Reason(answer["refused"]["reason"]), str(answer["refused"]["detail"]))
    return PdfFacts(**answer["facts"])
