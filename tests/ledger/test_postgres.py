"""The ledger in PostgreSQL: what is its own, beside the tests of `test_ledger`, which run on both engines."""

import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from entries import ACCOUNT, invoice, written

from invoicedrop.errors import Changed, ConfigError, Deferred, LedgerUnavailable
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from invoicedrop.ledger.postgres import Postgres
from invoicedrop.ledger.postgres_session import Session
from invoicedrop.ledger.schema import VERSION
from postgres_server import WITH_PASSWORD
from waiting import wait_until


@pytest.fixture
def ledger(postgres_url: str) -> Iterator[Ledger]:
    """A ledger of its own, in PostgreSQL."""
    with Ledger.at(postgres_url) as opened:
        opened.connect()
        yield opened


def engine(ledger: Ledger) -> Postgres:
    """Return what executes the ledger's statements."""
    found = ledger._database
    assert isinstance(found, Postgres)
    return found


def end_session(ledger: Ledger, url: str) -> None:
    """End the session that writes, as an administrator or a restart of the server does."""
    writer = engine(ledger)._writer
    assert writer is not None
    execute(url, "SELECT pg_terminate_backend(%s)", writer.info.backend_pid)


def execute(url: str, statement: Any, *values: object) -> list[tuple[Any, ...]]:
    """Execute a statement by a connection of its own."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        cursor = connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description is not None else []


# Durability


@pytest.mark.parametrize("default", ["off", "local"])
def test_a_commit_is_on_disk_whatever_the_server_s_default(postgres_url: str, default: str) -> None:
    """A server, or a user, whose commits return early is told otherwise for our session."""
    url = f"{postgres_url}%20-csynchronous_commit%3D{default}"
    with Ledger.at(url) as ledger:
        ledger.connect()
        writer = engine(ledger)._writer
        assert writer is not None
        assert writer.execute("SHOW synchronous_commit").fetchall() == [("on",)]


def test_what_was_committed_outlives_the_process(postgres_url: str) -> None:
    """An entry is found by the next process when the one that wrote it dies right after the call, unwinding nothing."""
    script = """
        import os, sys
        from invoicedrop.ledger.ledger import Entry, Ledger
        ledger = Ledger.at(sys.argv[1])
        ledger.connect()
        ledger.uploading(Entry(account="a", project_id=1, reference="8355", sha256="0",
                               inbox="i", file="f", size=1, first_seen=1.0))
        os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), postgres_url], check=False)
    assert done.returncode == 9
    with Ledger.at(postgres_url) as ledger:
        row = ledger.find("a", 1, "8355", "0")
    assert row is not None
    assert row.state is State.UPLOADING


# Tables


def test_two_daemons_that_start_at_once_make_the_tables_once(postgres_url: str) -> None:
    """Whoever comes second to an empty database finds the tables made, and both have one identity."""
    ledgers = [Ledger.at(postgres_url) for _ in range(4)]
    threads = [threading.Thread(target=ledger.connect) for ledger in ledgers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ledger.identity() for ledger in ledgers}) == 1
    assert execute(postgres_url, "SELECT version FROM schema_version") == [(VERSION,)]
    for ledger in ledgers:
        ledger.close()


def test_a_command_makes_no_tables(postgres_url: str) -> None:
    """Who only looks finds no ledger in an empty database, and leaves it empty."""
    with Ledger.at(postgres_url) as ledger:
        assert not ledger.connect(make=False)
    assert execute(postgres_url, "SELECT to_regclass('schema_version')") == [(None,)]


def test_tables_of_a_newer_program_are_refused_in_a_sentence(postgres_url: str, ledger: Ledger) -> None:
    """They are left untouched, and it is said what to do."""
    ledger.close()
    execute(postgres_url, "UPDATE schema_version SET version = 99")
    with Ledger.at(postgres_url) as again, pytest.raises(ConfigError, match="newer invoicedrop \\(schema 99"):
        again.connect()
    assert execute(postgres_url, "SELECT version FROM schema_version") == [(99,)]


def test_older_tables_are_brought_up_to_date(postgres_url: str, ledger: Ledger) -> None:
    """A step that is missing is taken when a program of this version comes, and what was written stays."""
    entry = ledger.uploading(invoice())
    execute(postgres_url, f"UPDATE schema_version SET version = {VERSION - 1}")
    execute(postgres_url, "DROP TABLE inbox_owners")
    with Ledger.at(postgres_url) as again:
        again.connect()
        assert written(again, entry) == entry
    assert execute(postgres_url, "SELECT version FROM schema_version") == [(VERSION,)]


def test_text_with_a_nul_is_kept_without_it(ledger: Ledger) -> None:
    """PostgreSQL's text has no NUL: an invoice whose producer has one is not refused for it."""
    entry = ledger.uploading(replace(invoice(), producer="a\0b"))
    assert written(ledger, entry).producer == "a\N{REPLACEMENT CHARACTER}b"


# A session that is lost


def test_without_its_session_nothing_is_written_until_it_is_connected_anew(postgres_url: str, ledger: Ledger) -> None:
    """A session that was ended takes no write with it to the next one; reading goes on by itself."""
    entry = ledger.uploading(invoice())
    first = engine(ledger).session
    end_session(ledger, postgres_url)
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):
            ledger.uploaded(entry, Receipt(1))
    assert engine(ledger).session is None
    assert written(ledger, entry) == entry
    assert ledger.connect()
    assert engine(ledger).session not in {None, first}
    assert written(ledger, ledger.uploaded(entry, Receipt(1))).sent


def test_what_began_under_another_session_is_not_written(postgres_url: str, ledger: Ledger) -> None:
    """A write that belongs to a session is refused by the next one; those beside it are not."""
    database = engine(ledger)
    first = database.session
    ledger.connect()
    with pytest.raises(LedgerUnavailable, match="is over"):
        database.write("INSERT INTO buckets VALUES ('a', 1, 1) RETURNING 1", {}, first)
    assert database.write("INSERT INTO buckets VALUES ('b', 1, 1) RETURNING 1", {}, database.session) == [(1,)]
    assert execute(postgres_url, "SELECT account FROM buckets") == [("b",)]


@pytest.mark.parametrize("happened", [False, True], ids=["not", "after all"])
def test_a_commit_whose_answer_is_lost_concludes_nothing(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    """Nobody takes it for done, nor for not done: read again, the entry is what it is, and it goes on from there."""
    before = ledger.deferred(invoice(), 0.0, "")
    real = Session.commit

    def lost(session: Session) -> None:
        if happened:
            real(session)
        session.close()
        session.execute("SELECT 1")

    monkeypatch.setattr(Session, "commit", lost)
    with pytest.raises(LedgerUnavailable):
        ledger.uploading(before)
    with pytest.raises(LedgerUnavailable):
        ledger.uploading(invoice(9))
    monkeypatch.undo()
    ledger.connect()
    now = written(ledger, before)
    assert now.state is (State.UPLOADING if happened else State.RECEIVED)
    if happened:
        # Whoever would go on as if it had not happened is refused.
        with pytest.raises(Changed):
            ledger.uploading(before)
    assert ledger.uploading(now).version == now.version + 1


def test_an_insert_whose_answer_is_lost_is_found_and_not_repeated(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A first write that happened after all is a row that a second one does not overwrite."""
    real = Session.commit

    def lost(session: Session) -> None:
        real(session)
        session.close()
        session.execute("SELECT 1")

    monkeypatch.setattr(Session, "commit", lost)
    with pytest.raises(LedgerUnavailable):
        ledger.uploading(invoice())
    monkeypatch.undo()
    ledger.connect()
    with pytest.raises(Changed):
        ledger.deferred(invoice(), 1.0, "as if nothing was there")
    assert written(ledger, invoice()).state is State.UPLOADING


def test_an_answer_that_never_comes_is_given_up(postgres_url: str) -> None:
    """A server that takes everything and says nothing is lost after our patience, and its late answer is nobody's."""
    with Ledger.at(postgres_url, patience=0.3) as ledger:
        ledger.connect()
        writer = engine(ledger)._writer
        assert writer is not None
        writer.execute("SET statement_timeout = 0")
        writer.commit()
        with pytest.raises(LedgerUnavailable):
            engine(ledger).write("SELECT 1 FROM pg_sleep(20)", {})
        assert engine(ledger).session is None
        ledger.connect()
        assert engine(ledger).write("SELECT 2", {}) == [(2,)]


# Threads


def test_writes_that_come_together_share_a_commit(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """What eight threads want to write during another write takes one commit, and one that is refused hurts none."""
    commits: list[int] = []
    go = threading.Event()
    real = Session.commit

    def counted(session: Session) -> None:
        go.wait(20)
        commits.append(1)
        real(session)

    monkeypatch.setattr(Session, "commit", counted)
    entry = invoice(3)
    results: dict[int, object] = {}

    def work(index: int) -> None:
        try:
            results[index] = ledger.uploading(entry if index in {3, 4} else invoice(index))
        except Changed as changed:
            results[index] = changed

    first = threading.Thread(target=ledger.buckets.remember, args=(ACCOUNT, BucketLevel(1.0, 1.0)))
    first.start()
    group = engine(ledger)._group
    wait_until(lambda: group._writing, what="a write that waits")
    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(group._waiting) == 8, what="all that want to write")
    go.set()
    for thread in [first, *threads]:
        thread.join()
    assert len(commits) == 2
    (refused,) = (index for index, result in results.items() if isinstance(result, Changed))
    assert refused in {3, 4}
    for index in set(range(8)) - {refused}:
        result = results[index]
        assert isinstance(result, Entry)
        assert written(ledger, result) == result


def test_a_write_that_cannot_be_is_its_own_thread_s_error(ledger: Ledger) -> None:
    """A value that the database does not take hurts no later write."""
    with pytest.raises(LedgerUnavailable):
        ledger.uploaded(replace(invoice(), pages=2**63), Receipt(1))
    assert ledger.uploading(invoice()).id


def test_what_one_daemon_works_on_is_not_another_s_meanwhile(postgres_url: str, ledger: Ledger) -> None:
    """Of two daemons with inboxes of their own one at a time has an order, or a PDF; the other one comes later."""
    with Ledger.at(postgres_url) as other:
        other.connect()
        with ledger.alone_with("pdf", "order"):
            with pytest.raises(Deferred, match="another machine"), other.alone_with("another pdf", "order"):
                pass
            with other.alone_with("another pdf", "another order"):
                pass
        with other.alone_with("pdf", "order"):
            ledger.connect()
            with pytest.raises(Deferred), ledger.alone_with("order"):
                pass
            end_session(other, postgres_url)
        wait_until(lambda: _is_free(ledger), what="the lock of a session that was ended")


def _is_free(ledger: Ledger) -> bool:
    try:
        with ledger.alone_with("order"):
            return True
    except Deferred:
        return False


# What is wrong with the setting, and what is waited for


def test_an_address_that_is_none_is_not_quoted() -> None:
    """What libpq cannot read may hold a password: the sentence does not show it."""
    with pytest.raises(ConfigError, match="no address that libpq understands") as caught:
        Ledger.at("postgresql://ada:hunter2@host:port/x")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("postgres@", "nobody@"), 'role "nobody" does not exist'),
        (("/postgres?", "/none?"), 'database "none" does not exist'),
        (("?", "?sslmode=require&"), "does not support SSL"),
    ],
)
def test_a_wrong_setting_is_a_setting_s_fault(postgres_url: str, change: tuple[str, str], words: str) -> None:
    """A user or a database that is not there, or a demand that the server cannot meet, is exit 78 in words."""
    with Ledger.at(postgres_url.replace(*change)) as ledger, pytest.raises(ConfigError, match=words):
        ledger.connect()


def test_a_user_without_rights_is_told_so(postgres_url: str) -> None:
    """Who may not make tables is told so in a sentence."""
    execute(postgres_url, "DO $$ BEGIN CREATE ROLE poor LOGIN; EXCEPTION WHEN OTHERS THEN NULL; END $$")
    poor = postgres_url.replace("postgres@", "poor@")
    with Ledger.at(poor) as ledger, pytest.raises(ConfigError, match="may not make tables"):
        ledger.connect()


def test_a_server_that_is_not_there_is_waited_for() -> None:
    """A database that does not answer is no setting's fault: it may not have been started yet."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://ada:hunter2@127.0.0.1:{nobody.getsockname()[1]}/x"
        with Ledger.at(url) as ledger, pytest.raises(LedgerUnavailable, match="refused") as caught:
            ledger.connect()
    assert "hunter2" not in str(caught.value)


def test_a_server_whose_name_is_not_known_is_waited_for() -> None:
    """The name server may not be up yet either."""
    with Ledger.at("postgresql://ada@database.invalid/x") as ledger, pytest.raises(LedgerUnavailable, match="resolve"):
        ledger.connect()


def test_a_wrong_password_is_a_setting_s_fault_and_a_password_file_works(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password that is refused is said to be, without it; the right one may lie in libpq's own file."""
    role = f"CREATE ROLE {WITH_PASSWORD} LOGIN SUPERUSER PASSWORD 'right'"
    execute(postgres_url, f"DO $$ BEGIN {role}; EXCEPTION WHEN OTHERS THEN NULL; END $$")
    wrong = postgres_url.replace("postgres@", f"{WITH_PASSWORD}:hunter2@")
    with Ledger.at(wrong) as ledger, pytest.raises(ConfigError, match="password authentication failed") as caught:
        ledger.connect()
    assert "hunter2" not in str(caught.value)
    (tmp_path / "passwords").write_text(f"*:*:*:{WITH_PASSWORD}:right\n")
    (tmp_path / "passwords").chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "passwords"))
    with Ledger.at(postgres_url.replace("postgres@", f"{WITH_PASSWORD}@")) as ledger:
        assert ledger.connect()


def test_libpq_s_own_files_work(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address may be a service of libpq's own service file."""
    host, _, rest = postgres_url.removeprefix("postgresql://postgres@").partition(":")
    port = rest.partition("/")[0]
    (tmp_path / "services").write_text(f"[books]\nhost={host}\nport={port}\nuser=postgres\ndbname=postgres\n")
    monkeypatch.setenv("PGSERVICEFILE", str(tmp_path / "services"))
    query = postgres_url.partition("?")[2]
    with Ledger.at(f"postgresql:///?service=books&{query}") as ledger:
        assert ledger.connect()
        assert ledger.uploading(invoice()).id


def test_a_closed_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """A thread that outlives the service's end is told that nothing is written any more."""
    entry = ledger.uploading(invoice())
    ledger.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        ledger.uploaded(entry, Receipt(1))
    with pytest.raises(LedgerUnavailable, match="closed"):
        written(ledger, entry)
