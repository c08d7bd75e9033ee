"""Starts the real command without waiting for Python and its libraries: a process forked from one that has them.

Most of a daemon's start is imports, half a second of processor time, and the tests start some hundreds of them. This
program imports once, listens on a socket, and forks a child for each job. The child is a process like any other: its
own environment, working directory, umask, standard streams, signals, and exit code. Tests of what a start itself does,
and of memory, run the command as a user does (`Merchant.start(forked=False)`).
"""

import array
import atexit
import contextlib
import errno
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NoReturn, Self

_HERE = Path(__file__)


class ForkedProcess:
    """A child of the fork server, with the interface of `subprocess.Popen` as far as tests use it."""

    def __init__(self, connection: socket.socket, arguments: Sequence[str]) -> None:
        self.args = list(arguments)
        self._connection = connection
        self.pid = int(json.loads(_line(connection)))
        self.returncode: int | None = None
        # The server reaps it only when it knows that this handle is open: no other process can have the number.
        self._handle = os.pidfd_open(self.pid)
        connection.sendall(b"\n")

    def poll(self) -> int | None:
        """Return the exit code, as Popen has it; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self._end()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; return the exit code."""
        if self.returncode is None:
            if not select.select([self._connection], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self._end()
        assert self.returncode is not None
        return self.returncode

    def _end(self) -> None:
        self.returncode = int(json.loads(_line(self._connection)))
        self._connection.close()
        os.close(self._handle)

    def send_signal(self, number: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._handle, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The server, seen from the tests: one for each process that runs tests."""

    _running: "ForkServer | None" = None

    @classmethod
    def running(cls) -> Self:
        """Return the server of this process, started when it is first wanted."""
        if not isinstance(cls._running, cls):
            cls._running = cls()
        return cls._running

    @classmethod
    def pids(cls) -> set[int]:
        """Return the number of the server of this process, if it was started: no child of the test that asks."""
        return set() if cls._running is None else {cls._running._process.pid}

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="fork-server-")
        self._address = str(Path(self._folder.name, "socket"))
        # It ends when its standard input does: with this process, however that ends.
        self._process = subprocess.Popen([sys.executable, str(_HERE), self._address], stdin=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not Path(self._address).exists():
            assert self._process.poll() is None, "the fork server has ended"
            assert time.monotonic() < deadline, "the fork server does not start"
            select.select([], [], [], 0.01)

    def start(
        self,
        arguments: Sequence[str],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        env: Mapping[str, str],
        cwd: Path,
        stdin: IO[bytes] | None = None,
    ) -> ForkedProcess:
        """Start `python ARGUMENTS`; without `stdin` its standard input is empty."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self._address)
        fields = {"arguments": list(arguments), "env": dict(env), "cwd": str(cwd), "umask": _umask()}
        job = json.dumps(fields).encode() + b"\n"
        with ExitStack() as stack:
            stdin = stdin or stack.enter_context(Path(os.devnull).open("rb"))
            descriptors = array.array("i", [stdin.fileno(), stdout.fileno(), stderr.fileno()])
            sent = connection.sendmsg([job], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        connection.sendall(job[sent:])
        return ForkedProcess(connection, arguments)

    def close(self) -> None:
        """End the server; its children are not ended by that."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._folder.cleanup()


def _umask() -> int:
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:"))
    return int(line.split()[1], 8)


def _line(connection: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = connection.recv(65_536)
        if not piece:
            raise OSError(errno.EPIPE, "the fork server has ended")
        line += piece
    return line


# The server itself


def _become(job: dict[str, Any], streams: Sequence[int]) -> NoReturn:
    """Be what the job says; in the child."""
    for standard, descriptor in enumerate(streams):
        os.dup2(descriptor, standard)
    os.closerange(3, 64)
    os.environ.clear()
    os.environ.update(job["env"])
    os.chdir(job["cwd"])
    os.umask(job["umask"])
    sys.stdin, sys.stdout, sys.stderr = (open(number, mode, closefd=False) for number, mode in enumerate("rww"))  # noqa: SIM115 - its standard streams
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[attr-defined, union-attr]
    try:
        _run(*job["arguments"])
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    # What the interpreter does at the end, but for taking apart each object that was there before the fork: that would
    # copy all their pages, and be most of what a short life takes.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    if code is not None and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
        code = 1
    os._exit(code or 0)


def _run(program: str, *arguments: str) -> None:
    if program == "-m":
        from invoicedrop import cli  # noqa: PLC0415 - imported before the fork

        sys.argv = ["invoicedrop", *arguments[1:]]
        cli.main()
    else:
        # quick_service, as_nobody or crash, imported before the fork.
        sys.argv = [program, *arguments]
        sys.modules[Path(program).stem].main()


def _import_everything() -> None:
    for name in ("cli", "service.service", "commands.check.command", "commands.status.command", "commands.orders"):
        __import__(f"invoicedrop.{name}")
    for name in ("verify", "health", "support"):
        __import__(f"invoicedrop.commands.{name}")
    for name in ("quick_service", "as_nobody", "crash"):
        __import__(name)
    # The collector of a child would go through all this once more when it ends: most of what a short life takes. What a
    # life makes itself is little, too.
    gc.freeze()
    gc.set_threshold(20_000)


def _serve(address: str) -> None:
    _import_everything()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"{address}.new")
    listener.listen(16)
    Path(f"{address}.new").rename(address)
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake_write)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([listener, wake_read, 0], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
            _reap(children)
        if 0 in ready and not os.read(0, 1):
            return
        if listener in ready:
            connection, _ = listener.accept()
            line, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
            while not line.endswith(b"\n"):
                line += connection.recv(1 << 20)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                _become(json.loads(line), streams)
            for descriptor in streams:
                os.close(descriptor)
            connection.sendall(f"{pid}\n".encode())
            connection.recv(1)
            children[pid] = connection


def _reap(children: dict[int, socket.socket]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            with children.pop(pid) as connection, contextlib.suppress(OSError):
                connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())


if __name__ == "__main__":
    _serve(sys.argv[1])
