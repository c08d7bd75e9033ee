"""One process that checks PDFs, seen from ours: started with nothing it does not need, asked, heard out, killed.

What it runs is `pdf_child`. The PDF goes there as a descriptor, what comes back is a line of JSON, and what is no such
line, or comes too late, is an outcome as well.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any, Final

from invoicedrop.errors import Rejected
from invoicedrop.pdf.check.verdict import PdfFacts
from invoicedrop.reasons import Reason

_START_SECONDS: Final = 60.0
"""For the interpreter to start and import, on a machine that is busy with other things."""
_LONGEST_ANSWER: Final = 16_384
_SLOW_PRIORITY: Final = 10
"""Nice value of a suspect: it may use what the others leave."""
_BOOTSTRAP: Final = (
    "import json, runpy, sys; module, path, *sys.argv[1:] = sys.argv[1:]; sys.path[:] = json.loads(path); "
    "runpy.run_module(module, run_name='__main__')"
)


class Unexpected(Rejected):
    """A verdict that came of an error in the check: a good file's, too, if the check is broken."""


Outcome = PdfFacts | Rejected | Reason
"""What came of one try: facts, a verdict, or the trouble (CHECK_TIMEOUT, CHECK_CRASHED) that it ended in."""


class CheckProcess:
    """One process that checks PDFs, and our end of the socket to it. Used by one thread at a time.

    `command` is the module that it runs, our module path as JSON, and how much memory a check may take in MiB.

    Raises:
        OSError: it cannot be started.

    """

    def __init__(self, command: tuple[str, str, str]) -> None:
        module, path, memory = command
        ours, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_failure:
            on_failure.callback(ours.close)
            # Nothing is ever written there: when our end is closed, or we are dead, the child ends.
            their_lifeline, self._lifeline = os.pipe()
            on_failure.callback(os.close, self._lifeline)
            try:
                # Its own session: Ctrl-C on the terminal is for us to handle. No token in its environment.
                self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                    [sys.executable, "-I", "-S", "-c", _BOOTSTRAP, module, path, str(their_lifeline), memory],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[their_lifeline],
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            finally:
                os.close(their_lifeline)
            on_failure.pop_all()
        self._socket = ours
        self._kill_lock = threading.Lock()
        self._said_hello = False
        self._slowed = False
        self.reusable = False

    def ready(self) -> bool:
        """Wait for the child's hello, once."""
        if not self._said_hello:
            self._said_hello = self._receive(_START_SECONDS) == {"hello": True}
        return self._said_hello

    def ask(self, fd: int, request: bytes) -> None:
        """Send a question: a line of JSON, and the descriptor that it is about."""
        # One that died while it was idle shows in the answer.
        with contextlib.suppress(OSError):
            self._socket.settimeout(_START_SECONDS)
            sent = socket.send_fds(self._socket, [request], [fd])
            self._socket.sendall(request[sent:])

    def answer(self, seconds: float) -> Outcome:
        """Return what the child found, CHECK_TIMEOUT if it has not answered yet, CHECK_CRASHED if it never will."""
        self.reusable = False
        answer = self._receive(seconds)
        if isinstance(answer, Reason):
            return answer
        try:
            last = answer.pop("last")
            verdict = Unexpected if answer.pop("unexpected", False) else Rejected
            outcome = (
                verdict(Reason(answer["reason"]), str(answer["detail"])) if "reason" in answer else PdfFacts(**answer)
            )
        except (KeyError, TypeError, ValueError):
            return Reason.CHECK_CRASHED  # no answer of ours: something else speaks there
        self.reusable = not last and not self._slowed
        return outcome

    def _receive(self, seconds: float) -> dict[str, Any] | Reason:
        deadline = time.monotonic() + seconds
        line = b""
        try:
            while not line.endswith(b"\n"):
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                piece = self._socket.recv(_LONGEST_ANSWER)
                line += piece
                if not piece or len(line) > _LONGEST_ANSWER:
                    return Reason.CHECK_CRASHED
            answer = json.loads(line)
        except TimeoutError:
            return Reason.CHECK_TIMEOUT
        except (OSError, ValueError):
            return Reason.CHECK_CRASHED
        return answer if isinstance(answer, dict) else Reason.CHECK_CRASHED

    def give_way(self) -> None:
        """Give this process a low priority, for good: nobody may raise it again."""
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
        self._socket.close()
        os.close(self._lifeline)
