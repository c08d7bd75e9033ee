"""What a confined process cannot do: tried for real, in processes of their own, confined and not."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import forbidden
from invoicedrop.system import confinement
from invoicedrop.system.confinement import Confinement, offered

HEADERS = (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h"))
"""Of Debian's linux-libc-dev; aarch64 has the generic numbers."""
TESTS = Path(forbidden.__file__).parent
PROGRAM = """
import json, os, sys
from pathlib import Path
import forbidden
from invoicedrop.system.confinement import confine
folder, port, confined = json.loads(sys.argv[1])
print(json.dumps(confine([Path(os.__file__).parent]) if confined else None), flush=True)
forbidden.main(forbidden.Target(folder, port, os.getppid()))
"""
WITHOUT_LANDLOCK = pytest.mark.skipif(not offered().landlock, reason="the kernel offers no Landlock")
WITHOUT_SECCOMP = pytest.mark.skipif(
    not offered().seccomp, reason="the kernel offers no seccomp (or we know none here)"
)
Attempts = Callable[..., tuple[Confinement | None, dict[str, str]]]


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attempts]:
    """Run a process that tries everything, and return what confines it and the outcome of each attempt."""
    with socket.create_server(("127.0.0.1", 0)) as tcp:

        def run(*, confined: bool, wrapper: tuple[str, ...] = ()) -> tuple[Confinement | None, dict[str, str]]:
            folder = tmp_path_factory.mktemp("target")
            forbidden.prepare(folder)
            arguments = json.dumps([str(folder), tcp.getsockname()[1], confined])
            with socket.socket(socket.AF_UNIX) as unix:
                unix.bind(str(folder / "socket"))
                unix.listen()
                done = subprocess.run(
                    [*wrapper, sys.executable, "-c", PROGRAM, arguments],
                    cwd=folder,
                    env={"PYTHONPATH": str(TESTS)},
                    capture_output=True,
                    text=True,
                    check=False,
                )
            hello, *lines = done.stdout.splitlines()
            outcomes = dict((line.split("\t") if "\t" in line else (line, "done")) for line in lines)
            assert outcomes.keys() == {*forbidden.FILES, *forbidden.CALLS, forbidden.EXEC}, done.stderr
            return (Confinement(*json.loads(hello)) if confined else None), outcomes

        yield run


@pytest.fixture(scope="module")
def free(attempts: Attempts) -> dict[str, str]:
    """The outcomes in a process that is not confined."""
    return attempts(confined=False)[1]


@pytest.fixture(scope="module")
def confined(attempts: Attempts) -> dict[str, str]:
    """The outcomes in a confined process."""
    return attempts(confined=True)[1]


def without(what: str, error: str) -> tuple[str, ...]:
    """Return a wrapper that takes Landlock, seccomp or both away from a program."""
    return sys.executable, str(TESTS / "without_confinement.py"), what, error


@pytest.mark.parametrize(("column", "header"), list(enumerate(HEADERS)), ids=["x86_64", "aarch64"])
def test_the_numbers_are_the_kernels(column: int, header: Path) -> None:
    """Each call that is refused has the number that the kernel's own header gives it, and none is missing there."""
    if not header.exists():
        pytest.skip(f"there is no {header}")
    ours = re.findall(r" (\w+) (\d+|-) (\d+|-)(?=[,\n])", confinement._REFUSED)
    assert len(ours) == len(re.findall("[,:]", confinement._REFUSED)) > 100
    numbers = dict(re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", header.read_text()))
    assert {name: columns[column] for name, *columns in ours} == {name: numbers.get(name, "-") for name, *_ in ours}


@WITHOUT_LANDLOCK
@pytest.mark.parametrize("attempt", forbidden.FILES)
def test_files_are_closed(free: dict[str, str], confined: dict[str, str], attempt: str) -> None:
    """A confined process opens no file and no folder but those that were named, however it goes about it."""
    assert confined[attempt] == "Permission denied"
    assert free[attempt] == "done" or os.geteuid() != 0


@WITHOUT_SECCOMP
@pytest.mark.parametrize("attempt", [*forbidden.CALLS, forbidden.EXEC])
def test_calls_are_refused(free: dict[str, str], confined: dict[str, str], attempt: str) -> None:
    """A confined process changes no file, and has no network, no signals, no processes, no programs."""
    refusals = {"Operation not permitted", "Function not implemented", "can't start new thread"}
    assert confined[attempt] in refusals
    assert free[attempt] == "done" or os.geteuid() != 0


@WITHOUT_LANDLOCK
@WITHOUT_SECCOMP
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize(("missing", "left"), [("landlock", "seccomp"), ("seccomp", "landlock")])
def test_what_is_offered_is_used(attempts: Attempts, missing: str, left: str, error: str) -> None:
    """Where a container lets only one of the two through, that one is in force, and the process is told."""
    confinement, outcomes = attempts(confined=True, wrapper=without(missing, error))
    assert confinement is not None
    assert (confinement.landlock > 0, confinement.seccomp) == (left == "landlock", left == "seccomp")
    assert (outcomes["read the token"] == "done") == (left == "seccomp")
    assert (outcomes["fork"] == "done") == (left == "landlock")
    # Either one stops that.
    assert outcomes["write a file"] != "done"


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@WITHOUT_SECCOMP
def test_where_nothing_is_offered_the_program_runs(attempts: Attempts, error: str) -> None:
    """Where a container lets neither through, nothing is in force, nothing fails, and the process is told."""
    confinement, outcomes = attempts(confined=True, wrapper=without("both", error))
    assert confinement == Confinement(0, seccomp=False)
    assert outcomes["read the token"] == outcomes["fork"] == "done"


@WITHOUT_SECCOMP
@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
@pytest.mark.parametrize("missing", ["landlock", "seccomp", "both"])
def test_what_is_offered_can_be_asked(missing: str, error: str) -> None:
    """A process learns what is offered without being confined, and says what is missing in a sentence."""
    program = "from invoicedrop.system.confinement import offered; print(offered().shortcoming)"
    done = subprocess.run(
        [*without(missing, error), sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ("Landlock" in done.stdout) == (missing != "seccomp")
    assert ("seccomp" in done.stdout) == (missing != "landlock")


def test_what_is_needed_stays(tmp_path: Path) -> None:
    """What is open or was named can still be read, our own limits can be set, and we can abort."""
    (tmp_path / "open.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "module.py").write_bytes(b"x = 1")
    (tmp_path / "named").write_bytes(b"by itself")
    program = """
import os, resource, sys
from pathlib import Path
from invoicedrop.system.confinement import confine
confine(map(Path, ("library", "named", "not there")))
print(os.pread(0, 4, 0), os.listdir("library"), Path("library/module.py").read_text(), Path("named").read_text())
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
sys.stdout.flush()
os.abort()
"""
    with (tmp_path / "open.pdf").open("rb") as file:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=tmp_path, stdin=file, capture_output=True, text=True, check=False
        )
    assert done.stdout == "b'%PDF' ['module.py'] x = 1 by itself\n", done.stderr
    assert done.returncode == -signal.SIGABRT
