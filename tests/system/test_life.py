import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from invoicedrop.system.life import Life
from waiting import wait_until

_NOTHING = (sys.executable, "-S", "-c", "import time; time.sleep(60)")


def _life_of(process: subprocess.Popen[bytes]) -> Life:
    fields = Path(f"/proc/{process.pid}/stat").read_bytes().rpartition(b")")[2].split()
    return Life(process.pid, int(fields[19]), Life.ours().namespace)


def test_a_process_is_over_when_it_has_ended() -> None:
    """One that runs or is stopped is not over; one that was killed is, also before its parent takes note of it."""
    process = subprocess.Popen(_NOTHING)
    life = _life_of(process)
    assert not life.is_over
    process.send_signal(signal.SIGSTOP)
    assert not life.is_over
    process.kill()
    wait_until(lambda: life.is_over, what="the end of a process that nobody has waited for")
    process.wait()
    assert life.is_over


def test_another_process_of_the_same_number_is_another_one() -> None:
    """A number that was given out again does not keep the one before alive."""
    ours = Life.ours()
    assert not ours.is_over
    assert ours._replace(started=ours.started - 1).is_over


@pytest.mark.parametrize(
    "life",
    [
        Life(0, 1, Life.ours().namespace),
        Life(-1, 1, Life.ours().namespace),
        Life(2**22 + 1, 1, "pid:[1]"),
        Life(2**22 + 1, 1, ""),
        Life.ours()._replace(started=0),
    ],
    ids=["nobody", "everybody", "another namespace", "no namespace", "no start"],
)
def test_what_cannot_be_known_is_not_over(life: Life) -> None:
    """Where it cannot be seen from here, nothing is said."""
    assert not life.is_over


def test_no_number_is_too_large() -> None:
    """A number that no process can have is over, and no error."""
    assert Life(10**30, 1, Life.ours().namespace).is_over


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_another_users_process_is_seen_too() -> None:
    """Whoever may not send it signals sees that it is there."""
    life = Life(1, 0, Life.ours().namespace)
    with suppress(PermissionError):
        os.seteuid(65534)
    try:
        assert not life.is_over
    finally:
        os.seteuid(0)
    assert time.monotonic() > 0
