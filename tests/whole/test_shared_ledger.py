"""A daemon whose ledger is in PostgreSQL: how it starts, stands by and takes over, and what it may not do then."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from invoicedrop.sandbox import Options, serve
from invoicedrop.sandbox.paper import invoice_pdf
from merchant import Daemon, Merchant, running
from postgres_server import PostgresServer, new_schema
from quick_service import QUICK, UNCHECKED, program
from waiting import wait_until

_TIMING: Final = replace(QUICK, lease_beat=0.1, lease_valid=0.8, lease_stale=1.2, owner_look=0.1, database_answer=2.0)


@contextmanager
def _machine(merchant: Merchant, url: str, name: str, fault: str | None = None, **changes: str) -> Iterator[Daemon]:
    """Run the daemon of one machine while the block runs."""
    where = {"state_dir": str(merchant.home / name), "ledger_url": url} | changes
    with running(merchant, program=program(_TIMING, fault=fault, checked=False), **where) as daemon:
        yield daemon


@contextmanager
def _both(merchant: Merchant, url: str, fault: str | None = None) -> Iterator[tuple[Daemon, Daemon]]:
    """Run two machines' daemons while the block runs, of which the first one works."""
    with _machine(merchant, url, "one", fault=fault) as first:
        first.wait_for("inbox.owner")
        with _machine(merchant, url, "two") as second:
            second.wait_for("inbox.standby")
            yield first, second


def _takes_over(second: Daemon, first: Daemon) -> None:
    """Stop the first one; the second takes over, and says from whom."""
    first.signal(signal.SIGSTOP)
    second.wait_for("inbox.owner")
    (event,) = second.events("inbox.owner")
    assert f"process {first.process.pid} on" in str(event["taken_over_from"])


def _uploads(merchant: Merchant) -> list[int]:
    return [upload.order_id for upload in merchant.sandbox.uploads()]


# How it starts


def test_a_daemon_with_its_ledger_in_postgresql_needs_no_file(merchant: Merchant, postgres_url: str) -> None:
    """All is done as with a ledger in a file, of which there is none; the commands find it; the password is masked."""
    merchant.drop_pdf("5.pdf")
    merchant.drop_pdf("999.pdf")
    url = postgres_url.replace("postgres@", "postgres:hunter2@")
    done = merchant.run("run", "--once", program=UNCHECKED, ledger_url=url)
    assert done.returncode == 1, done.stderr
    assert sorted(path.name for path in merchant.processed.iterdir()) == ["5.pdf"]
    assert sorted(path.name for path in merchant.failed.iterdir()) == ["999.pdf", "999.pdf.reason.txt"]
    assert not list(merchant.state.glob("ledger*"))
    shown = merchant.run("status", ledger_url=url)
    assert "Today: 1 sent, 1 failed" in shown.stdout
    assert merchant.run("verify", ledger_url=url).returncode == 0
    check = merchant.run("check", ledger_url=url)
    assert "the database postgres on 127.0.0.1: fsync = off, full_page_writes = off" in " ".join(check.stdout.split())
    config = merchant.run("config", ledger_url=url)
    assert "ledger_url" in config.stdout
    for output in (done.stderr, shown.stdout, check.stdout, config.stdout):
        assert "hunter2" not in output


def test_a_database_that_is_not_there_yet_is_waited_for(merchant: Merchant) -> None:
    """The daemon starts before its database does, says so, moves nothing, and goes on when it is there."""
    server = PostgresServer.made()
    try:
        merchant.drop_pdf("5.pdf")
        with _machine(merchant, server.url, "state") as daemon:
            daemon.wait_for("inbox.unavailable")
            assert "refused" in str(daemon.events("inbox.unavailable")[0]["detail"])
            assert (merchant.drop / "5.pdf").exists()
            once = merchant.run(
                "run", "--once", program=UNCHECKED, ledger_url=server.url, state_dir=str(merchant.home / "other")
            )
            assert once.returncode == 75, once.stderr
            server.start()
            daemon.wait_for("invoice.processed")
            assert daemon.stop() == 0
    finally:
        server.remove()


def test_another_database_than_before_is_told(merchant: Merchant, postgres_url: str) -> None:
    """An empty database in the place of the one that was in use: the log and `check` say so, and nothing doubles."""
    where = {"ledger_url": postgres_url}
    merchant.drop_pdf("5.pdf")
    assert merchant.run("run", "--once", program=UNCHECKED, **where).returncode == 0
    with new_schema(postgres_url.partition("?")[0]) as other:
        merchant.drop_pdf("5.pdf")
        done = merchant.run("run", "--once", program=UNCHECKED, ledger_url=other)
        assert done.returncode == 0
        assert "new ledger, which knows of no invoice, but a service was at work here with another one" in done.stderr
        assert "Is ledger_url right?" in done.stderr
        check = " ".join(merchant.run("check", **where).stdout.split())
        assert "is another one than at the last start" in check
    assert _uploads(merchant) == [5]


def test_backup_leaves_a_database_to_its_own_tools(merchant: Merchant, postgres_url: str) -> None:
    """A ledger in PostgreSQL is not copied into a file: it is said what does that."""
    done = merchant.run("backup", str(merchant.home / "copy"), ledger_url=postgres_url)
    assert done.returncode != 0
    assert "pg_dump" in done.stderr
    assert not (merchant.home / "copy").exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://x", "must be an address like postgresql://"),
        ("postgresql://ada:hunter2@host:port/x", "is no address that libpq understands"),
        ("{}-none", 'database "postgres-none" does not exist'),
    ],
)
def test_a_wrong_address_ends_the_start(merchant: Merchant, postgres_url: str, url: str, words: str) -> None:
    """What no waiting mends is exit 78 with a sentence, and no password in it."""
    done = merchant.run("run", ledger_url=url.format(postgres_url.partition("?")[0]))
    assert done.returncode == 78
    assert words in done.stderr
    assert "hunter2" not in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_extra_it_is_said_how_to_install_it(merchant: Merchant) -> None:
    """A ledger in PostgreSQL without its driver is exit 78 with the command that installs it."""
    hidden = merchant.home / "hidden" / "psycopg"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'psycopg'\", name='psycopg')\n")
    environment = merchant.environment | {
        "PYTHONPATH": str(hidden.parent),
        "PATH": os.environ["PATH"],
        "INVOICEDROP_LEDGER_URL": "postgresql://localhost/x",
    }
    done = subprocess.run(
        [sys.executable, "-m", "invoicedrop.cli", "run"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "pip install 'invoicedrop[postgres]'" in done.stderr


def test_a_ledger_in_a_file_loads_no_postgresql_code(merchant: Merchant) -> None:
    """The default service, at work, has imported nothing of psycopg."""
    merchant.drop_pdf("5.pdf")
    script = """
import sys
from invoicedrop.service.service import Service
from invoicedrop.settings.load import load
code = Service(load()).run(once=True)
print(code, [name for name in sys.modules if "psycopg" in name or name.endswith("ledger.postgres")])
"""
    environment = merchant.environment | {"PATH": os.environ["PATH"], "INVOICEDROP_INCOMPLETE_GRACE": "0.1"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


# Standing by


def test_the_second_stands_by_and_says_so(merchant: Merchant, postgres_url: str) -> None:
    """It says who works, once in the log, and in `status`; it is healthy; an ordered stop of the first hands over."""
    with _both(merchant, postgres_url) as (first, second):
        merchant.drop_pdf("5.pdf")
        first.wait_for("invoice.processed")
        theirs = {"state_dir": str(merchant.home / "two"), "ledger_url": postgres_url}
        who = f"stands by: process {first.process.pid} on {os.uname().nodename}, since 2"
        wait_until(lambda: who in merchant.run("status", **theirs).stdout, what="who works")
        assert merchant.run("health", **theirs).returncode == 0
        assert len(second.events("inbox.standby")) == 1
        assert first.stop() == 0
        second.wait_for("inbox.owner")
        assert "taken_over_from" not in second.events("inbox.owner")[0]
        merchant.drop_pdf("6.pdf")
        second.wait_for("invoice.processed")
        assert second.stop() == 0
    assert _uploads(merchant) == [5, 6]
    assert not list(merchant.drop.glob(".invoicedrop*"))


@pytest.mark.parametrize("other", ["a ledger of its own", "another name for the inbox"])
def test_a_daemon_that_does_not_share_both_ledger_and_inbox_is_refused(
    merchant: Merchant, postgres_url: str, other: str
) -> None:
    """Whoever would work on the folder without knowing of the first is kept out by the folder itself."""
    with _machine(merchant, postgres_url, "one") as first:
        first.wait_for("inbox.watching")
        if other == "a ledger of its own":
            done = merchant.run("run", state_dir=str(merchant.home / "two"))
        else:
            inboxes = f'[{{"name": "other", "drop_dir": "{merchant.drop}"}}]'
            changes: dict[str, Any] = {"inboxes": inboxes, "ledger_url": postgres_url}
            environment = dict(merchant.environment)
            del merchant.environment["INVOICEDROP_DROP_DIR"]
            done = merchant.run("run", state_dir=str(merchant.home / "two"), **changes)
            merchant.environment.update(environment)
        assert done.returncode == 75, done.stderr
        assert f"in use by another invoicedrop (process {first.process.pid} on" in done.stderr


def test_a_machine_that_has_lost_its_share_gives_way(merchant: Merchant, postgres_url: str) -> None:
    """Where the folders cannot be used on the owner's machine alone, the other one works after a while."""
    (merchant.home / "mount").symlink_to(merchant.drop)
    with _machine(merchant, postgres_url, "one", drop_dir=str(merchant.home / "mount")) as first:
        first.wait_for("inbox.owner")
        with _machine(merchant, postgres_url, "two") as second:
            second.wait_for("inbox.standby")
            (merchant.home / "mount").unlink()
            first.wait_for("inbox.unavailable")
            merchant.drop_pdf("5.pdf")
            second.wait_for("invoice.processed")
            first.wait_for("inbox.standby")
            assert first.stop() == 0
            assert second.stop() == 0
    assert _uploads(merchant) == [5]


# Inboxes of one company, worked on by different machines


def _inbox(merchant: Merchant, name: str) -> dict[str, str]:
    """Return the settings of a machine that has an inbox of its own."""
    folder = merchant.home / name
    folder.mkdir()
    return {"inboxes": json.dumps([{"name": name, "drop_dir": str(folder)}])}


def test_the_same_invoice_in_two_machines_inboxes_is_sent_once(merchant: Merchant, postgres_url: str) -> None:
    """Dropped into both at the same moment, one machine sends it, and the other one finds that it is there."""
    del merchant.environment["INVOICEDROP_DROP_DIR"]
    merchant.sandbox.faults.add("latency", "upload", seconds=0.3)
    bol, amazon = _inbox(merchant, "bol"), _inbox(merchant, "amazon")
    with (
        _machine(merchant, postgres_url, "one", **bol) as first,
        _machine(merchant, postgres_url, "two", **amazon) as second,
    ):
        for daemon in (first, second):
            daemon.wait_for("inbox.watching")
        pdf = merchant.home / "5.pdf"
        pdf.write_bytes(invoice_pdf("5"))
        for name in ("bol", "amazon"):
            shutil.copy(pdf, merchant.home / name / ".writing.tmp")
            (merchant.home / name / ".writing.tmp").rename(merchant.home / name / "5.pdf")
        for name in ("bol", "amazon"):
            wait_until((merchant.home / name / "processed" / "5.pdf").exists, what=f"the end in {name}")
        wait_until(lambda: first.events("invoice.duplicate") or second.events("invoice.duplicate"), what="the second")
    assert _uploads(merchant) == [5]


def test_two_machines_of_one_company_keep_its_rate_limit_together(home: Path, postgres_url: str) -> None:
    """Each has a backlog of its own: together they ask as often as the company may, and are never refused."""
    rate, burst, invoices = 8, 20, 18
    with serve(Options(rate=rate, burst=burst)) as api:
        merchant = Merchant(home, api)
        del merchant.environment["INVOICEDROP_DROP_DIR"]
        names = ("bol", "amazon")
        settings = [_inbox(merchant, name) | {"requests_per_second": str(rate), "burst": str(burst)} for name in names]
        for number, name in enumerate(name for _ in range(invoices) for name in names):
            (home / name / f"{number + 1}.pdf").write_bytes(invoice_pdf(str(number + 1)))
        with (
            _machine(merchant, postgres_url, "one", **settings[0]),
            _machine(merchant, postgres_url, "two", **settings[1]),
        ):
            wait_until(lambda: len(_uploads(merchant)) == 2 * invoices, what="both backlogs", seconds=40)
        assert not [request for request in api.requests if request.status == 429]


# One that was stopped, and comes back


def test_one_that_was_stopped_after_its_intent_does_not_send(merchant: Merchant, postgres_url: str) -> None:
    """The intent was written, and then its machine slept: the other one asks, and sends; the first sends nothing."""
    os.mkfifo(merchant.home / "gate")
    with _both(merchant, postgres_url, fault="intent") as (first, second):
        merchant.drop_pdf("5.pdf")
        wait_until((merchant.home / "at the move").exists, what="the intent")
        _takes_over(second, first)
        second.wait_for("invoice.processed")
        assert {event["found"] for event in second.events("upload.reconciled")} == {False}
        first.signal(signal.SIGCONT)
        (merchant.home / "gate").write_bytes(b"")
        first.wait_for("inbox.standby")
        assert first.stop() == 0
    assert _uploads(merchant) == [5]


def test_what_is_in_doubt_is_asked_about_only_when_nobody_can_be_sending_it(
    merchant: Merchant, postgres_url: str
) -> None:
    """After a kill in mid-upload the next owner works at once, but asks only after the time of the one before."""
    merchant.sandbox.faults.add("latency", "upload", seconds=0.3)
    with _both(merchant, postgres_url) as (first, second):
        merchant.drop_pdf("5.pdf")
        first.wait_for("upload.started")
        first.kill()
        second.wait_for("inbox.owner")
        merchant.drop_pdf("6.pdf")
        second.wait_for("invoice.processed", 2)
        assert [event["file"] for event in second.events("invoice.processed")] == ["6.pdf", "5.pdf"]
    assert sorted(_uploads(merchant)) == [5, 6]


def test_a_move_that_comes_too_late_is_taken_back(merchant: Merchant, postgres_url: str) -> None:
    """Stopped right before it moved a refused file, one comes back after a person has moved that back as a retry.

    Its move is undone: the invoice, which was sent meanwhile, ends in processed/, and nothing tells that it failed.
    """
    os.mkfifo(merchant.home / "gate")
    with _both(merchant, postgres_url, fault="move") as (first, second):
        merchant.drop_pdf("999.pdf")
        wait_until((merchant.home / "at the move").exists, what="the move")
        _takes_over(second, first)
        second.wait_for("invoice.failed")
        merchant.sandbox.store.add_order(999)
        merchant.sandbox.faults.add("latency", "upload", seconds=1.0)
        (merchant.failed / "999.pdf").rename(merchant.drop / "999.pdf")
        second.wait_for("upload.started")
        first.signal(signal.SIGCONT)
        (merchant.home / "gate").write_bytes(b"")
        wait_until((merchant.processed / "999.pdf").exists, what="the end")
        first.wait_for("inbox.standby")
        assert first.stop() == 0
        wait_until(lambda: not list(merchant.failed.iterdir()), what="an empty failed folder")
        assert not list(merchant.drop.glob("*.pdf"))
    assert _uploads(merchant) == [999]


def test_a_move_that_comes_too_late_takes_no_other_file(merchant: Merchant, postgres_url: str) -> None:
    """Another invoice that got the same name meanwhile stays, and is sent as the one that it is."""
    os.mkfifo(merchant.home / "gate")
    with _both(merchant, postgres_url, fault="move") as (first, second):
        one = merchant.drop_pdf("5.pdf")
        wait_until((merchant.home / "at the move").exists, what="the move")
        _takes_over(second, first)
        wait_until((merchant.processed / "5.pdf").exists, what="the first one")
        merchant.sandbox.faults.add("latency", "upload", seconds=0.5)
        other = merchant.drop_pdf("5.pdf", invoice_pdf("5", pages=2))
        second.wait_for("upload.started")
        first.signal(signal.SIGCONT)
        (merchant.home / "gate").write_bytes(b"")
        wait_until(lambda: len(list(merchant.processed.iterdir())) == 2, what="both")
        assert {path.read_bytes() for path in merchant.processed.iterdir()} == {one, other}
        first.wait_for("inbox.standby")
        assert first.stop() == 0
        assert second.stop() == 0
    assert _uploads(merchant) == [5, 5]


def test_the_loss_of_the_database_pauses_and_its_return_resumes(merchant: Merchant) -> None:
    """While the database is away nothing moves and nothing is sent, one line says so; then all goes on by itself."""
    server = PostgresServer.made()
    try:
        server.start()
        with _machine(merchant, server.url, "state") as daemon:
            daemon.wait_for("inbox.watching")
            server.stop()
            daemon.wait_for("inbox.unavailable")
            merchant.drop_pdf("5.pdf")
            with socket.socket() as nobody:
                # Long enough for several tries: the port refuses.
                assert nobody.connect_ex(("127.0.0.1", server.port)) != 0
            lines = len(daemon.events())
            server.start()
            daemon.wait_for("invoice.processed")
            assert not [event for event in daemon.events()[:lines] if event["event"] == "invoice.found"]
            assert daemon.stop() == 0
    finally:
        server.remove()
    assert _uploads(merchant) == [5]


def test_a_standby_does_not_keep_its_own_trouble(merchant: Merchant, postgres_url: str) -> None:
    """What was wrong while it worked on the inbox is not reported any more when another machine works on it."""
    merchant.drop_pdf("5.pdf")
    with _machine(merchant, postgres_url, "one", api_token="wrong-token-wrong-token-wrong") as one:
        one.wait_for("api.paused")
        with _machine(merchant, postgres_url, "two") as two:
            two.wait_for("inbox.standby")
            one.signal(signal.SIGSTOP)
            two.wait_for("invoice.processed")
            one.signal(signal.SIGCONT)
            one.wait_for("inbox.standby")
            asked = {"ledger_url": postgres_url, "state_dir": str(merchant.home / "one")}
            wait_until(lambda: merchant.run("health", **asked).returncode == 0, what="a standby that is well")
