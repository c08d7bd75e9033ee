"""What systemd learns at the start of a real service."""

import socket
from pathlib import Path

import pytest

from merchant import Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until


def _messages(listener: socket.socket, until: str) -> list[str]:
    """Return what systemd is told, up to a message that has these words."""
    said: list[str] = []
    while not any(until in message for message in said):
        said.append(listener.recv(1 << 16).decode())
    return said


@pytest.mark.parametrize("trouble", ["", "a file in the place of a folder", "a ledger that is none"])
def test_ready_does_not_wait_for_the_folders(
    merchant: Merchant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """Ready comes with ledger and settings, whatever is wrong with a folder: that is told in the status line then.

    A ledger that cannot be opened never gets that far.
    """
    if trouble == "a file in the place of a folder":
        merchant.processed.write_text("")
    if trouble == "a ledger that is none":
        merchant.state.mkdir()
        (merchant.state / "ledger.sqlite3").write_bytes(b"no ledger" * 1000)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(20)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        with running(merchant, program=UNCHECKED) as daemon:
            if trouble == "a ledger that is none":
                assert daemon.wait() != 0
                listener.setblocking(False)
                with pytest.raises(BlockingIOError):
                    listener.recv(1)
                return
            said = _messages(listener, "unavailable: " if trouble else "0 waiting")
            assert said.index("READY=1") < next(i for i, message in enumerate(said) if "WATCHDOG=1" in message)
            if trouble:
                assert f"{merchant.processed} is not a folder" in said[-1]
                merchant.processed.unlink()
                _messages(listener, "STATUS=0 waiting; 0 sent today")
            wait_until((merchant.state / "service.json").exists, what="there is a report")
