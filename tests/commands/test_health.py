import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoicedrop.commands.health import health
from invoicedrop.service.status_file import Report
from invoicedrop.settings.sources import Places
from invoicedrop.settings.status_place import status_files
from merchant import Merchant, running
from quick_service import UNCHECKED
from waiting import wait_until

_NOBODY = 65534
_PLACES = Places(config=Path("/nowhere.toml"), user_state=Path("/home/anna/state"), runtime=Path("/run/invoicedrop"))


def _write_report(folder: Path, *, age: float = 0.0, **changes: Any) -> Path:
    """Write what a service wrote about itself `age` seconds ago; return the file."""
    fields = ("unavailable", "unavailable_cause", "paused", "paused_cause")
    inbox = {"waiting": 0, "mode": "events"} | {field: changes.pop(field, None) for field in fields}
    report = {"pid": 4711, "version": "1", "beat": time.time() - age, "interval": 5.0, "inboxes": {"default": inbox}}
    (folder / "service.json").write_text(json.dumps(report | changes))
    return folder / "service.json"


@pytest.mark.parametrize("changes", [{}, {"paused": "429", "paused_cause": "rate limit"}], ids=["well", "rate limit"])
def test_a_fresh_report_without_trouble_is_healthy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    """A service that beats is at work, also while its rate limit makes it wait: exit 0."""
    assert health(_write_report(tmp_path, **changes)) == 0
    assert capsys.readouterr().out == "healthy\n"


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"pid": None}, "the service has stopped"),
        ({"age": 600}, "the service's last sign of life is 600 s old: it hangs, or has been killed"),
        ({"unavailable": "the share is gone"}, "inbox default is unavailable: the share is gone"),
        ({"paused": "the token is refused", "paused_cause": "token"}, "inbox default is paused: the token is refused"),
        ({"unavailable": "full", "paused": "503"}, "inbox default is unavailable: full; inbox default is paused: 503"),
    ],
    ids=["stopped", "hangs", "unavailable", "paused", "both"],
)
def test_what_is_wrong_is_named_on_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], cause: str
) -> None:
    """A service that has stopped, hangs, cannot use an inbox or is paused is not at work: exit 1, and the causes."""
    assert health(_write_report(tmp_path, **changes)) == 1
    assert capsys.readouterr().out == f"{cause}\n"


def test_who_cannot_be_told_is_no_reason_to_be_restarted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Messages that do not get out are told, and the service is at work all the same: exit 0."""
    assert health(_write_report(tmp_path, reporting={"notify": "address 1 (mailto) does not answer"})) == 0
    assert capsys.readouterr().out == "healthy, but notify: address 1 (mailto) does not answer\n"


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"{", b"\xff\xfe\x00", b'{"beat": "soon"}'])
def test_without_a_report_the_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None
) -> None:
    """Where no service has written its file, or something else lies there, its path is named: exit 1, no traceback."""
    path = tmp_path / "service.json"
    if content is not None:
        path.write_bytes(content)
    assert health(path) == 1
    assert capsys.readouterr().out == f"no service has written {path} yet\n"


def test_a_report_that_cannot_be_read_is_not_called_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An error in reading the service's file is told as that, with its cause: exit 1."""
    (tmp_path / "service.json").mkdir()
    assert health(tmp_path / "service.json") == 1
    assert capsys.readouterr().out == f"{tmp_path}/service.json cannot be read: Is a directory\n"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_TOP = st.sampled_from(sorted(Report.model_fields))
_IN_INBOX = st.sampled_from(["waiting", "unavailable", "paused", "paused_cause", "paused_since", "put_off"])


@given(changes=st.dictionaries(_TOP, _JSON), inbox=st.dictionaries(_IN_INBOX, _JSON))
def test_whatever_the_file_says_is_told_in_one_harmless_line(
    changes: dict[str, Any], inbox: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any values at all, in any field, end in one printable line and in 0 or 1."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    report = {"pid": 4711, "beat": time.time(), "interval": 5.0, "inboxes": {"shop": inbox}}
    path.write_text(json.dumps(report | changes))
    with _said() as lines:
        assert health(path) in {0, 1}
    assert len(lines) == 1
    assert lines[0].isprintable()


@contextmanager
def _said() -> Iterator[list[str]]:
    lines: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("typer.echo", lines.append)
        yield lines


# Where the file is


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({}, ["/run/invoicedrop", "/home/anna/state"]),
        ({"RUNTIME_DIRECTORY": "/run/nrpe"}, ["/run/nrpe", "/run/invoicedrop", "/home/anna/state"]),
        ({"STATE_DIRECTORY": "/var/lib/x"}, ["/run/invoicedrop", "/var/lib/x"]),
        ({"INVOICEDROP_STATE_DIR": "/state"}, ["/state", "/run/invoicedrop"]),
        ({"INVOICEDROP_STATUS_FILE": "/s/service.json", "RUNTIME_DIRECTORY": "/run/x"}, ["/s"]),
    ],
    ids=["nothing", "a monitor's own", "the service's own", "in a container", "a setting"],
)
def test_where_the_file_is_looked_for(environ: dict[str, str], found: list[str]) -> None:
    """What names it comes first; a monitor's own variables hide nothing; the unit's folder is known to everybody."""
    assert [str(path.parent) for path in status_files(None, environ, places=_PLACES)] == found


@pytest.mark.parametrize(
    "text",
    [
        'state_dir = "state"\napi_token_file = "/nowhere"\n',
        'state_dir = "state"\nproject_id = "no number"\nno_such_setting = 1\n',
        'status_file = "state/service.json"\nstate_dir = 5\n',
    ],
    ids=["no token", "wrong settings", "a wrong state_dir"],
)
def test_settings_that_are_wrong_do_not_hide_it(tmp_path: Path, text: str) -> None:
    """The file is found by the settings that name it, whatever is wrong with the others."""
    (tmp_path / "invoicedrop.toml").write_text(text)
    first = next(status_files(tmp_path / "invoicedrop.toml", {}, places=_PLACES))
    assert first == tmp_path / "state/service.json"


@pytest.mark.parametrize("content", [b"\xff\xfe", b"not = = toml", b"a = " + b"[" * 5000])
def test_settings_that_cannot_be_read_leave_the_usual_places(tmp_path: Path, content: bytes) -> None:
    """Settings that are no TOML end in the usual places, not in an error."""
    (tmp_path / "invoicedrop.toml").write_bytes(content)
    places = list(status_files(tmp_path / "invoicedrop.toml", {}, places=_PLACES))
    assert places == list(status_files(None, {}, places=_PLACES))


def test_settings_that_are_named_and_not_there_are_wrong_usage(merchant: Merchant) -> None:
    """A path that leads nowhere must not end in another service's health: exit 2."""
    done = merchant.run("health", "--config", "/nowhere/invoicedrop.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "/nowhere/invoicedrop.toml" in done.stderr


# Beside a real service


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_another_user_may_ask(merchant: Merchant, capfd: pytest.CaptureFixture[str]) -> None:
    """Any user learns how the service is from the file in its folder; no file's name stands in it, the details do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        merchant.drop_pdf("999_Jan Jansen.pdf")
        changes = {"status_file": str(folder / "service.json"), "order_grace": "1000"}
        with running(merchant, program=UNCHECKED, **changes) as daemon:
            daemon.wait_for("invoice.deferred")
            wait_until(lambda: b"Jansen" in (merchant.state / "details.json").read_bytes(), what="a beat that tells it")
            assert "999_Jan Jansen.pdf" in merchant.run("status", **changes).stdout
            assert health(folder / "service.json") == 0  # what it imports late is not for nobody
            os.seteuid(_NOBODY)
            try:
                assert health(folder / "service.json") == 0
                assert b"Jansen" not in (folder / "service.json").read_bytes()
                with pytest.raises(PermissionError):
                    (merchant.state / "details.json").read_bytes()
            finally:
                os.seteuid(0)
    assert capfd.readouterr().out == "healthy\nhealthy\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone may become another user")
def test_who_may_not_read_it_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever may not look into the folder learns that, and not that no service has written anything."""
    with tempfile.TemporaryDirectory() as name:
        path = _write_report(Path(name))
        os.seteuid(_NOBODY)
        try:
            assert health(path) == 1
        finally:
            os.seteuid(0)
    said = capsys.readouterr().out
    assert said.startswith(f"{name}/service.json cannot be read by nobody (group")
    assert "run this command as the service's user" in said


def test_beside_a_real_service(merchant: Merchant) -> None:
    """The command: healthy while the service runs, its cause while the drop folder is away, and stopped at the end."""
    path = merchant.state / "service.json"
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        wait_until(lambda: health(path) == 0, what="a beat")
        result = merchant.run("health")
        assert (result.returncode, result.stdout) == (0, "healthy\n")
        merchant.drop.rename(merchant.home / "away")
        daemon.wait_for("inbox.unavailable")
        wait_until(lambda: health(path) == 1, what="a beat that tells of it")
        result = merchant.run("health", drop_dir=str(merchant.home / "away"))
        assert result.returncode == 1
        assert result.stdout.startswith(f"inbox default is unavailable: {merchant.drop} is not there")
        assert daemon.stop() == 0
    result = merchant.run("health", drop_dir=str(merchant.home / "away"))
    assert (result.returncode, result.stdout) == (1, "the service has stopped\n")


def test_a_refused_token_is_not_healthy(merchant: Merchant) -> None:
    """A service that works, with a token that Channable refuses, is not at work; a monitor needs no token to see it."""
    merchant.drop_pdf("1.pdf")
    with running(merchant, program=UNCHECKED, api_token="expired") as daemon:
        daemon.wait_for("api.paused")
        del merchant.environment["INVOICEDROP_API_TOKEN"]
        wait_until(lambda: merchant.run("health").returncode == 1, what="a beat that tells of it")
        said = merchant.run("health").stdout
    assert said.startswith("inbox default is paused: the API token is wrong, revoked or expired")
    # What the API said of it is not for everybody.
    assert said.endswith("(HTTP 401 Unauthorized)\n")


def test_a_killed_service_is_seen_at_once(merchant: Merchant) -> None:
    """A process that is gone is told without waiting for its report to get old; one that is stopped is still there."""
    path = merchant.state / "service.json"
    with running(merchant, program=UNCHECKED) as daemon:
        wait_until(lambda: health(path) == 0, what="a beat")
        daemon.signal(signal.SIGSTOP)
        assert health(path) == 0
        daemon.kill()
        assert health(path) == 1
        assert Report.model_validate_json(path.read_bytes()).is_fresh(time.time())
