"""The process that checking processes are forked from, as its parent sees it: started with nothing it does not need.

An interpreter that imports pypdf takes 0.2 s of processor time; a process forked from one that has, a few milliseconds.
What both run is `worker`.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final, Self

from invoicedrop.pdf.process import CheckProcess

_ENVIRONMENT: Final = {"LC_ALL": "C.UTF-8", "PATH": ""}
"""Without our secrets. An empty PATH has no programs; without one, the system's folders would be searched."""
_BOOTSTRAP: Final = (
    "import json, sys; path, options = json.loads(sys.argv.pop()); sys.path[:] = path; "
    "from invoicedrop.pdf.worker import main; main(**options)"
)


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What a template is started with: the arguments of `worker.main`, which explains them."""

    check: str
    memory_mb: int


class Template:
    """A running template (see `start`). Used by one thread at a time."""

    def __init__(self, process: subprocess.Popen[bytes], connection: socket.socket, lifeline: int) -> None:
        self._process = process
        self._connection = connection
        self._lifeline = lifeline

    @classmethod
    def start(cls, options: WorkerOptions) -> Self:
        """Start a template, without waiting until it is ready.

        Raises:
            OSError: it cannot be started.

        """
        with _channel() as (ours, theirs, lifeline, their_lifeline):
            # Our own module path, because -I (which keeps the environment and the current folder out) would not find a
            # package that was installed for one user only; -S saves the time of working it out again.
            path = [entry for entry in sys.path if entry]
            arguments = json.dumps([path, {"lifeline": their_lifeline, **asdict(options)}])
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
        return cls(process, ours, lifeline)

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def fork(self) -> CheckProcess:
        """Have a checking process forked, without waiting for it: if that fails, it is never ready.

        Raises:
            OSError: it cannot be asked for.

        """
        with _channel() as (ours, theirs, lifeline, their_lifeline):
            socket.send_fds(self._connection, [b"+"], [theirs.fileno(), their_lifeline])
        return CheckProcess(ours, lifeline)

    def end(self) -> None:
        """Kill the template and forget it; what was forked from it goes on."""
        self._process.kill()
        self._process.wait()
        self._connection.close()
        os.close(self._lifeline)


@contextlib.contextmanager
def _channel() -> Iterator[tuple[socket.socket, socket.socket, int, int]]:
    """Lend both ends of a socket, and of a pipe. At the end a child's are closed; ours only if something is raised."""
    ours, theirs = socket.socketpair()
    with theirs, contextlib.ExitStack() as on_failure:
        on_failure.callback(ours.close)
        # Nothing is ever written there: when our end is closed, or we are dead, the child ends.
        their_lifeline, lifeline = os.pipe()
        on_failure.callback(os.close, lifeline)
        try:
            yield ours, theirs, lifeline, their_lifeline
        finally:
            os.close(their_lifeline)
        on_failure.pop_all()
