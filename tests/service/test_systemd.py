"""What systemd is told, at a socket of our own."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given, settings

from foreign_text import TRICKS, is_harmless
from invoicedrop.service.systemd import SystemdNotifier


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """A service manager's socket, in the abstract namespace."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")
        listener.settimeout(5)
        yield listener


def _notifier(listener: socket.socket) -> SystemdNotifier:
    return SystemdNotifier("@" + listener.getsockname()[1:].decode())


@given(words=TRICKS)
@settings(deadline=None)
def test_no_word_from_outside_is_a_command_to_systemd(listener: socket.socket, words: str) -> None:
    """Whatever the API or a file name says, the status is one line, and no other variable is set."""
    _notifier(listener).status(f"shop unavailable: {words}\nMAINPID=1\nWATCHDOG=trigger")
    received = listener.recv(1 << 16).decode()
    assert received.startswith("STATUS=shop unavailable: ")
    assert is_harmless(received)


def test_a_long_status_arrives(listener: socket.socket) -> None:
    """A status is cut where systemd would drop the whole message (4096 bytes)."""
    _notifier(listener).status("\U0001f9fe" * 5000)
    assert 1000 < len(listener.recv(1 << 16)) <= 4096


def test_a_status_is_sent_when_it_changes(listener: socket.socket) -> None:
    """The same words are sent once."""
    notifier = _notifier(listener)
    for line in ("1 waiting", "1 waiting", "2\nwaiting", "2\nwaiting", "end"):
        notifier.status(line)
    assert [listener.recv(1 << 16) for _ in range(3)] == [b"STATUS=1 waiting", b"STATUS=2\\nwaiting", b"STATUS=end"]
