"""What a process would try that a PDF has taken over: each kind of it, for real, against its parent and a folder."""

import ctypes
import errno
import fcntl
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

_libc: Final = ctypes.CDLL(None, use_errno=True)
_PTRACE_ATTACH: Final = 16
_PTRACE_DETACH: Final = 17


class Target(NamedTuple):
    """What is attacked: a folder that `prepare` has filled, a TCP port and a Unix socket with listeners, a process."""

    folder: str
    port: int
    parent: int

    def path(self, name: str) -> Path:
        """Return the path of something in the folder."""
        return Path(self.folder, name)


def prepare(folder: Path) -> None:
    """Put into a folder what the attempts look for."""
    for name in ("api_token", "8355.pdf", "gone", "moved", "changed"):
        folder.joinpath(name).write_text("secret", encoding="ascii")


def _checked(result: int) -> int:
    """Return the result of a function of the C library; raise what went wrong, as `os` does."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _clone3() -> None:
    """Make a process by the newest call, as later C libraries do; exit in it at once."""
    arguments = (ctypes.c_ulonglong * 11)()
    arguments[4] = signal.SIGCHLD
    child = _checked(_libc.syscall(435, arguments, ctypes.c_size_t(64)))
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _start_thread() -> None:
    try:
        thread = threading.Thread(target=int)
        thread.start()
    except RuntimeError as error:
        raise OSError(str(error)) from error
    thread.join()


def _ptrace(parent: int) -> None:
    nothing = ctypes.c_void_p(0)
    _checked(_libc.ptrace(_PTRACE_ATTACH, parent, nothing, nothing))
    os.waitpid(parent, 0x40000000)  # __WALL
    _checked(_libc.ptrace(_PTRACE_DETACH, parent, nothing, nothing))


def _connect(kind: int, address: "str | tuple[str, int]") -> None:
    with socket.socket(kind, socket.SOCK_STREAM) as client:
        client.connect(address)


def _send_datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"secret", ("127.0.0.1", port))


def _listen() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        pass


def _socketpair() -> None:
    for end in socket.socketpair():
        end.close()


def _have_the_kernel_signal(parent: int) -> None:
    """Have the kernel send SIGURG, which is ignored: to the owner of a descriptor on which something happens."""
    reading, writing = os.pipe()
    fcntl.fcntl(reading, fcntl.F_SETOWN, parent)
    fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGURG)
    fcntl.fcntl(reading, fcntl.F_SETFL, os.O_ASYNC)
    os.write(writing, b"x")


def _read_memory(parent: int) -> None:
    """Read a byte of the parent's memory: at an address at which we have something, it may have nothing (EFAULT)."""
    here = ctypes.create_string_buffer(1)
    place = (ctypes.c_void_p * 2)(ctypes.addressof(here), 1)
    try:
        _checked(_libc.process_vm_readv(parent, place, 1, place, 1, 0))
    except OSError as error:
        if error.errno != errno.EFAULT:
            raise


def _listed(folder: str) -> None:
    with os.scandir(folder) as entries:
        next(entries)


FILES: Final[dict[str, Callable[[Target], object]]] = {
    "read the token": lambda target: target.path("api_token").read_bytes(),
    "read another invoice": lambda target: target.path("8355.pdf").read_bytes(),
    "read by way of a folder's descriptor": lambda target: os.open(
        "api_token", os.O_RDONLY, dir_fd=os.open(target.folder, os.O_PATH)
    ),
    "list a folder": lambda target: _listed(target.folder),
    "list the current folder": lambda _: _listed("."),
    "read the parent's environment": lambda target: Path(f"/proc/{target.parent}/environ").read_bytes(),
    "open the parent's memory": lambda target: os.open(f"/proc/{target.parent}/mem", os.O_RDONLY),
    "read our own environment": lambda _: Path("/proc/self/environ").read_bytes(),
    "read the users": lambda _: Path("/etc/passwd").read_bytes(),
}
"""What Landlock refuses."""

CALLS: Final[dict[str, Callable[[Target], object]]] = {
    "write a new file": lambda target: target.path("new").write_bytes(b""),
    "write a file": lambda target: os.open(target.path("changed"), os.O_WRONLY),
    "append to a file": lambda target: os.open(target.path("changed"), os.O_RDWR | os.O_APPEND),
    "write a file without a name": lambda target: os.open(target.folder, os.O_TMPFILE | os.O_WRONLY, 0o600),
    "empty a file": lambda target: os.open(target.path("changed"), os.O_RDONLY | os.O_TRUNC),
    "shorten a file": lambda target: os.truncate(target.path("changed"), 0),
    "unlink": lambda target: target.path("gone").unlink(),
    "rename": lambda target: target.path("moved").rename(target.path("moved again")),
    "link": lambda target: target.path("linked").hardlink_to(target.path("changed")),
    "symlink": lambda target: target.path("symlinked").symlink_to("changed"),
    "mkdir": lambda target: target.path("folder").mkdir(),
    "chmod": lambda target: target.path("changed").chmod(0o600),
    "chmod of what is open": lambda _: os.fchmod(1, 0o666),
    "change a date": lambda target: os.utime(target.path("changed"), (0, 0)),
    "watch a folder": lambda target: _checked(
        _libc.inotify_add_watch(_libc.inotify_init1(0), os.fsencode(target.folder), 0x100)
    ),
    "connect by TCP": lambda target: _connect(socket.AF_INET, ("127.0.0.1", target.port)),
    "send by UDP": lambda target: _send_datagram(target.port),
    "listen": lambda _: _listen(),
    "connect to a Unix socket": lambda target: _connect(socket.AF_UNIX, str(target.path("socket"))),
    "make a pair of sockets": lambda _: _socketpair(),
    "signal the parent": lambda target: os.kill(target.parent, signal.SIGURG),
    "signal everybody": lambda _: os.kill(0, signal.SIGURG),
    "have the kernel signal the parent": lambda target: _have_the_kernel_signal(target.parent),
    "hold the parent by a descriptor": lambda target: os.pidfd_open(target.parent),
    "fork": lambda _: _fork(),
    "clone3": lambda _: _clone3(),
    "start a thread": lambda _: _start_thread(),
    "read the parent's memory": lambda target: _read_memory(target.parent),
    "trace the parent": lambda target: _ptrace(target.parent),
    "limit the parent": lambda target: resource.prlimit(target.parent, resource.RLIMIT_CORE),
    "slow the parent": lambda target: os.setpriority(
        os.PRIO_PROCESS, target.parent, os.getpriority(os.PRIO_PROCESS, target.parent)
    ),
    "leave the namespaces": lambda _: _checked(_libc.unshare(0x04000000)),
    "shared memory": lambda _: _checked(_libc.shmctl(_checked(_libc.shmget(0, 4096, 0o600)), 0, None)),
}
"""What seccomp refuses (in part Landlock, too)."""

EXEC: Final = "run a program"
"""The attempt that does not come back: the program prints this."""


def run_a_program() -> None:
    """Become a program that prints the name of this attempt, and a line end."""
    os.execv("/bin/echo", ["echo", EXEC])


def outcome(attempt: Callable[[Target], object], target: Target) -> str:
    """Return "done", or with what words the attempt was refused."""
    try:
        attempt(target)
    except OSError as error:
        return error.strerror or str(error)
    return "done"


def main(target: Target) -> None:
    """Try everything, and print a line for each: the attempt, a tab, the outcome."""
    for name, attempt in (FILES | CALLS).items():
        print(name, outcome(attempt, target), sep="\t", flush=True)
    try:
        run_a_program()
    except OSError as error:
        print(EXEC, error.strerror, sep="\t", flush=True)


if __name__ == "__main__":
    main(Target(sys.argv[1], int(sys.argv[2]), os.getppid()))
