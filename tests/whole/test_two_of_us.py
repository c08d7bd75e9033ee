"""Two daemons on one drop folder, and a state folder that is taken away: nothing is sent twice, and both are told."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from invoicedrop.inbox.ownership import OWNER_FILE
from invoicedrop.ledger.ledger import LEDGER_FILE
from merchant import Daemon, Merchant, running
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_NOBODY: Final = 65_534
_TIMING: Final = replace(QUICK, owner_look=0.05, owner_beat=0.1, owner_stale=3.0)


@contextmanager
def _running(merchant: Merchant, *arguments: str, **changes: str) -> Iterator[Daemon]:
    with running(merchant, *arguments, program=program(_TIMING, checked=False), **changes) as daemon:
        yield daemon


def _refused(merchant: Merchant, *arguments: str, **changes: str) -> str:
    """Return what a daemon says that does not start, since another one is at work."""
    with running(merchant, *arguments, **changes) as daemon:
        assert daemon.wait(20) == 75
        return daemon.errors()


def _owner(merchant: Merchant) -> dict[str, object]:
    owner = json.loads((merchant.drop / OWNER_FILE).read_bytes())
    assert isinstance(owner, dict)
    return owner


def _plant(merchant: Merchant, **changes: object) -> None:
    """Write an owner file as a daemon on another machine does, with its beat now."""
    owner = {
        "ledger": "f" * 32,
        "host": "nas",
        "pid": 4711,
        "started": "2026-11-25 08:00:00 UTC",
        "boot": "another",
        "life": "0123456789abcdef",
        "beat": "1999-01-01 00:00:00 UTC",
    }
    new = merchant.home / "owner"
    new.write_text(json.dumps(owner | changes))
    new.replace(merchant.drop / OWNER_FILE)


def test_a_second_daemon_with_another_state_folder_ends_with_75_and_names_the_first(merchant: Merchant) -> None:
    """Whatever its state folder, a second daemon does not work on a drop folder: nothing is sent twice."""
    with running(merchant, program=UNCHECKED) as first:
        first.wait_for("inbox.watching")
        for arguments in (("run",), ("run", "--once")):
            errors = _refused(merchant, *arguments, state_dir=str(merchant.home / "other"))
            assert str(merchant.drop) in errors
            assert f"process {first.process.pid} on {os.uname().nodename}, since 2" in errors
            assert "Traceback" not in errors
        merchant.drop_pdf("5.pdf")
        first.wait_for("invoice.processed")
        assert not first.events("inbox.owner")
        assert not [event for event in first.events("file.ignored") if "owner" in str(event["file"])]
        assert first.stop() == 0
    assert len(merchant.sandbox.store.uploads()) == 1
    assert not (merchant.drop / OWNER_FILE).exists()


def test_a_restart_after_a_kill_does_not_wait(merchant: Merchant) -> None:
    """The same service goes on at once after its own death: its beat is fresh, but its lock is gone."""
    with running(merchant, program=UNCHECKED) as first:
        first.wait_for("inbox.watching")
        first.kill()
    assert (merchant.drop / OWNER_FILE).exists()
    with running(merchant, program=UNCHECKED) as again:
        again.wait_for("inbox.watching")
        assert not again.events("inbox.owner")
        assert _owner(merchant)["pid"] == again.process.pid
        assert again.stop() == 0


def test_a_dead_daemon_of_this_machine_is_succeeded_at_once(merchant: Merchant) -> None:
    """A daemon with another state folder takes over from one that was killed, and the log says from whom."""
    with running(merchant, program=UNCHECKED) as first:
        first.wait_for("inbox.watching")
        first.kill()
    with running(merchant, program=UNCHECKED, state_dir=str(merchant.home / "other")) as second:
        second.wait_for("inbox.watching")
        (event,) = second.events("inbox.owner")
        assert f"process {first.process.pid} on" in str(event["taken_over_from"])


def test_a_fresh_beat_of_another_machine_ends_the_start_whatever_the_clocks_say(merchant: Merchant) -> None:
    """A beat is fresh by the folder's own clock: what the other machine takes for the time does not matter."""
    _plant(merchant)
    assert "process 4711 on nas, since 2026-11-25 08:00:00 UTC" in _refused(merchant, "run")
    assert _owner(merchant)["host"] == "nas"


@pytest.mark.parametrize(
    "content",
    ["{", "[]", '{"pid": true}', "x" * 100_000, None],
    ids=["cut off", "a list", "too little", "too much", "stale"],
)
def test_what_no_daemon_wrote_is_taken_over(merchant: Merchant, content: str | None) -> None:
    """A stale owner file, or one that cannot be understood, holds up nobody; the log says that it was taken over."""
    if content is None:
        _plant(merchant)
        os.utime(merchant.drop / OWNER_FILE, (time.time(), time.time() - 61))
    else:
        (merchant.drop / OWNER_FILE).write_text(content)
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        (event,) = daemon.events("inbox.owner")
        assert ("nas" if content is None else "unknown") in str(event["taken_over_from"])
        assert _owner(merchant)["pid"] == daemon.process.pid


def test_a_planted_link_is_replaced_and_not_followed(merchant: Merchant) -> None:
    """Nothing is written through a link, or into a FIFO, that has the owner file's name."""
    secret = merchant.home / "secret"
    secret.write_text("secret")
    (merchant.drop / OWNER_FILE).symlink_to(secret)
    merchant.drop_pdf("5.pdf")
    assert merchant.run("run", "--once").returncode == 0
    assert secret.read_text() == "secret"
    os.mkfifo(merchant.drop / OWNER_FILE)
    assert merchant.run("run", "--once").returncode == 0
    assert not os.path.lexists(merchant.drop / OWNER_FILE)


def test_a_folder_in_the_owner_file_s_place_stops_nobody(merchant: Merchant) -> None:
    """Where the owner file cannot be written, the lock alone holds the folder."""
    (merchant.drop / OWNER_FILE / "full").mkdir(parents=True)
    merchant.drop_pdf("5.pdf")
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("invoice.processed")
        _refused(merchant, "run", state_dir=str(merchant.home / "other"))


def test_a_foreign_beat_in_our_folder_stops_the_handing_out(merchant: Merchant) -> None:
    """A daemon that finds another one's beat in its folder hands out nothing, and goes on when that one has ended."""
    with _running(merchant, scan_interval="0.1") as daemon:
        daemon.wait_for("inbox.watching")
        wait_until(lambda: _plant(merchant) or daemon.events("inbox.unavailable"), what="inbox.unavailable")
        assert "process 4711 on nas" in str(daemon.events("inbox.unavailable")[0]["detail"])
        merchant.drop_pdf("5.pdf")
        for _ in range(40):
            _plant(merchant)
            time.sleep(0.02)
        assert not daemon.events("invoice.found")
        daemon.wait_for("invoice.processed")
        assert "nas" in str(daemon.events("inbox.owner")[0]["taken_over_from"])
        assert daemon.stop() == 0


@pytest.mark.parametrize("replaced", [False, True], ids=["moved away", "replaced"])
def test_a_state_folder_that_is_taken_away_stops_the_handing_out(merchant: Merchant, replaced: bool) -> None:
    """Without its state folder a service sends nothing, no second one starts beside it, and it goes on with it."""
    with _running(merchant) as daemon:
        daemon.wait_for("inbox.watching")
        away = merchant.state.rename(merchant.home / "away")
        if replaced:
            # But for what is written in this moment, and gone in the next.
            shutil.copytree(away, merchant.state, ignore=shutil.ignore_patterns(".invoicedrop-*"))
        daemon.wait_for("inbox.unavailable")
        assert "was moved away or replaced" in str(daemon.events("inbox.unavailable")[0]["detail"])
        merchant.drop_pdf("5.pdf")
        assert str(merchant.drop) in _refused(merchant, "run", "--once")
        assert not daemon.events("invoice.found")
        shutil.rmtree(merchant.state, ignore_errors=True)
        away.rename(merchant.state)
        daemon.wait_for("invoice.processed")
        assert daemon.stop() == 0
    assert len(merchant.sandbox.store.uploads()) == 1


def test_several_inboxes_are_held_one_by_one(merchant: Merchant, tmp_path: Path) -> None:
    """Each drop folder has an owner file of its own; one that another daemon holds ends the start."""
    second_drop = tmp_path / "second"
    second_drop.mkdir()
    config = tmp_path / "two.toml"
    config.write_text(
        f'[[inboxes]]\nname = "one"\ndrop_dir = "{merchant.drop}"\n'
        f'[[inboxes]]\nname = "two"\ndrop_dir = "{second_drop}"\n'
    )
    merchant.environment.pop("INVOICEDROP_DROP_DIR")
    with running(merchant, program=UNCHECKED, config=str(config)) as daemon:
        daemon.wait_for("inbox.watching", 2)
        assert all((folder / OWNER_FILE).exists() for folder in (merchant.drop, second_drop))
        errors = _refused(merchant, "run", drop_dir=str(second_drop), state_dir=str(merchant.home / "other"))
        assert str(second_drop) in errors
        assert daemon.stop() == 0
    assert not any((folder / OWNER_FILE).exists() for folder in (merchant.drop, second_drop))


def test_status_and_check_tell_whose_the_folder_is(merchant: Merchant) -> None:
    """While a daemon holds the folder, both commands name it, and whether it is the one of these settings."""
    other = {"state_dir": str(merchant.home / "other")}
    with running(merchant, program=UNCHECKED) as daemon:
        daemon.wait_for("inbox.watching")
        for settings in ({}, other):
            (inbox,) = json.loads(merchant.run("status", "--json", **settings).stdout)["inboxes"]
            assert inbox["owner"]["pid"] == daemon.process.pid
            assert inbox["owner"]["host"] == os.uname().nodename
            assert inbox["owner"]["ours"] is (settings == {})
            assert ("another invoicedrop" in merchant.run("status", **settings).stdout) is (settings == other)
            checked = merchant.run("check", **settings).stdout
            assert f"process {daemon.process.pid} on" in checked
            assert ("this service's" in checked, "another invoicedrop's" in checked) == (
                settings == {},
                settings == other,
            )
        assert daemon.stop() == 0
    assert json.loads(merchant.run("status", "--json").stdout)["inboxes"][0]["owner"] is None


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give a file to another user")
def test_who_keeps_a_foreign_beat_fresh_is_named(merchant: Merchant) -> None:
    """An owner file that somebody keeps fresh is told with its host, the user whose file it is, and what helps."""
    _plant(merchant)
    os.chown(merchant.drop / OWNER_FILE, _NOBODY, _NOBODY)
    (inbox,) = json.loads(merchant.run("status", "--json").stdout)["inboxes"]
    assert (inbox["owner"]["host"], inbox["owner"]["writer"]) == ("nas", "nobody")
    assert "the file is nobody's" in " ".join(merchant.run("status").stdout.split())
    checked = " ".join(merchant.run("check").stdout.split())
    assert "the file is nobody's" in checked
    assert f"If none is at work on nas, somebody who may write here keeps {OWNER_FILE} fresh" in checked
    assert "see what nobody runs" in checked


def test_a_ledger_that_is_replaced_stops_the_handing_out(merchant: Merchant) -> None:
    """A service whose ledger has another file's place now sends nothing: what it wrote would be read by nobody."""
    with _running(merchant) as daemon:
        daemon.wait_for("inbox.watching")
        ledger = merchant.state / LEDGER_FILE
        copy = merchant.home / "copy"
        shutil.copy(ledger, copy)
        copy.replace(ledger)
        daemon.wait_for("inbox.unavailable")
        assert "was moved away or replaced" in str(daemon.events("inbox.unavailable")[0]["detail"])
