import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from invoicedrop.commands.health import health
from merchant import Merchant, running
from waiting import wait_until

_NOBODY = 65534


def _write_report(folder: Path, *, age: float = 0.0, **changes: Any) -> None:
    """Write what a service wrote about itself `age` seconds ago."""
    inbox = {
        "waiting": 0,
        "mode": "events",
        "unavailable": changes.pop("unavailable", None),
        "paused": "the API is down",
    }
    report = {"pid": 4711, "version": "1", "beat": time.time() - age, "interval": 5.0, "inboxes": {"default": inbox}}
    (folder / "service.json").write_text(json.dumps(report | changes))


def test_a_fresh_report_without_trouble_is_healthy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A service that beats and can use its folders is healthy, also while the API makes it wait: exit 0."""
    _write_report(tmp_path)
    assert health(tmp_path) == 0
    assert capsys.readouterr().out == "healthy\n"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"pid": None}, "the service has stopped\n"),
        ({"age": 600}, r"the service's last sign of life is 60\d s old: it hangs, or has been killed\n"),
        ({"unavailable": "the share is gone"}, "inbox default is unavailable: the share is gone\n"),
        ({"pid": None, "unavailable": "full"}, "the service has stopped\ninbox default is unavailable: full\n"),
    ],
    ids=["stopped", "hangs", "unavailable", "stopped in trouble"],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], cause: str
) -> None:
    """A service that has stopped, that hangs, or that cannot use an inbox is not healthy: exit 1, and the cause."""
    _write_report(tmp_path, **changes)
    assert health(tmp_path) == 1
    assert re.fullmatch(cause, capsys.readouterr().out)


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"{", b"\xff\xfe\x00", b'{"beat": "soon"}'])
def test_without_a_report_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """Where no service has written its file, or something else lies there, its path is named: exit 1, no traceback."""
    if content is not None:
        (tmp_path / "service.json").write_bytes(content)
    assert health(tmp_path) == 1
    assert capsys.readouterr().out == f"no service has written {tmp_path}/service.json yet\n"


def test_a_report_that_cannot_be_read_is_not_called_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error in reading the service's file is told as that, with its cause: exit 1."""
    (tmp_path / "service.json").mkdir()
    assert health(tmp_path) == 1
    assert capsys.readouterr().out == f"{tmp_path}/service.json cannot be read: Is a directory\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_another_user_is_told_to_run_it_as_the_services(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may not look into the state folder learns that, and not that no service has written anything."""
    with tempfile.TemporaryDirectory() as name:
        _write_report(Path(name))
        os.seteuid(_NOBODY)
        try:
            assert health(Path(name)) == 1
        finally:
            os.seteuid(0)
    said = capsys.readouterr().out
    assert said.startswith(f"{name}/service.json cannot be read by nobody (group")
    assert "run this command as the service's user" in said


def test_beside_a_real_service(merchant: Merchant) -> None:
    """The command: healthy while the service runs, its cause while the drop folder is away, and stopped at the end."""
    with running(merchant) as daemon:
        daemon.wait_for("inbox.watching")
        wait_until(lambda: health(merchant.state) == 0, what="a beat")
        result = merchant.run("health")
        assert (result.returncode, result.stdout) == (0, "healthy\n")
        merchant.drop.rename(merchant.home / "away")
        daemon.wait_for("inbox.unavailable")
        wait_until(lambda: health(merchant.state) == 1, what="a beat that tells of it")
        result = merchant.run("health", drop_dir=str(merchant.home / "away"))
        assert result.returncode == 1
        assert result.stdout.startswith(f"inbox default is unavailable: {merchant.drop} is not there")
        assert daemon.stop() == 0
    result = merchant.run("health", drop_dir=str(merchant.home / "away"))
    assert (result.returncode, result.stdout.splitlines()[0]) == (1, "the service has stopped")
