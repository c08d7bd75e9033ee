import itertools
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from invoicedrop.errors import Changed, ConfigError, LedgerUnavailable
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger import schema
from invoicedrop.ledger.ledger import BucketLevel, Entry, Ledger, backoff
from invoicedrop.printable import storable
from invoicedrop.reasons import Reason

ACCOUNT = "https://api.example/1001"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of its own."""
    with Ledger(tmp_path) as opened:
        yield opened


def invoice(number: int = 8355, *, sha256: str = "ab" * 32, file: str | None = None, project_id: int = 2001) -> Entry:
    """Return an invoice that nothing is written of yet."""
    return Entry(
        account=ACCOUNT,
        project_id=project_id,
        reference=str(number),
        order_id=number,
        sha256=sha256,
        inbox="default",
        file=file or f"{number}.pdf",
        size=1000,
        first_seen=1_700_000_000.25,
    )


def found(ledger: Ledger, entry: Entry) -> Entry:
    """Return what is known of it now."""
    known = ledger.find(entry.account, entry.project_id, entry.reference, entry.sha256)
    assert known is not None
    return known


# States


def test_a_good_invoice_goes_through_its_states(ledger: Ledger) -> None:
    """Intent, receipt and end are each on disk, with attempts, times and places, when the call returns."""
    began = time.time()
    entry = ledger.uploading(invoice())
    assert found(ledger, entry) == entry
    assert (entry.state, entry.attempts) == (State.UPLOADING, 1)
    assert entry.doubt_since is not None
    assert began <= entry.doubt_since <= time.time()
    assert not entry.sent
    entry = ledger.uploaded(entry, Receipt(77, "late"))
    assert found(ledger, entry) == entry
    assert (entry.state, entry.attachment_id, entry.detail, entry.doubt_since) == (State.UPLOADED, 77, "late", None)
    assert entry.sent
    entry = ledger.processed(entry, Path("/srv/processed/8355.pdf"))
    assert found(ledger, entry) == entry
    assert (entry.state, entry.filed_as) == (State.PROCESSED, "/srv/processed/8355.pdf")


def test_a_bad_invoice_goes_through_its_states(ledger: Ledger) -> None:
    """Rejection and end are each on disk; a retry by hand starts over."""
    entry = ledger.rejected(invoice(), Reason.DAMAGED, "no root object")
    assert (found(ledger, entry).state, found(ledger, entry).reason) == (State.REJECTED, Reason.DAMAGED)
    entry = ledger.failed(entry, Path("/srv/failed/8355.pdf"))
    assert found(ledger, entry) == entry
    again = ledger.retried(entry)
    assert (again.state, again.reason, again.detail, again.filed_as) == (State.RECEIVED, None, None, None)
    assert again.first_seen > entry.first_seen
    assert again.id == entry.id


def test_a_doubt_survives_everything_but_its_answer(ledger: Ledger) -> None:
    """Deferral, rejection and a retry by hand keep the doubt of the first try; only a receipt ends it."""
    entry = first = ledger.uploading(invoice())
    entry = ledger.deferred(entry, 2.0, "timeout")
    entry = ledger.looked_in_vain(entry, 5.0)
    assert found(ledger, entry).looks == 1
    entry = ledger.uploading(entry)
    assert (entry.doubt_since, entry.looks, entry.attempts) == (first.doubt_since, 0, 2)
    entry = ledger.failed(ledger.rejected(entry, Reason.GAVE_UP, "3 days"), None)
    entry = ledger.retried(found(ledger, entry))
    assert (entry.state, entry.doubt_since) == (State.UPLOADING, first.doubt_since)
    assert ledger.uploaded(entry, Receipt(1)).doubt_since is None


def test_a_try_that_was_not_taken_leaves_what_was_before(ledger: Ledger) -> None:
    """A request that certainly did not arrive makes no doubt, and ends no older one."""
    fresh = invoice()
    entry = ledger.not_taken(ledger.uploading(fresh), fresh)
    assert (entry.state, entry.doubt_since) == (State.RECEIVED, None)
    doubtful = ledger.looked_in_vain(ledger.uploading(entry), 5.0)
    entry = ledger.not_taken(ledger.uploading(doubtful), doubtful)
    assert (entry.state, entry.doubt_since, entry.looks) == (State.UPLOADING, doubtful.doubt_since, 1)
    assert found(ledger, entry) == entry


def test_a_deferral_keeps_its_time_and_words(ledger: Ledger) -> None:
    """The time of the next try is on disk, and its state stays."""
    entry = ledger.deferred(invoice(), 30.0, "no answer in time")
    known = found(ledger, entry)
    assert known.next_try == pytest.approx(time.time() + 30, abs=2)
    assert (known.delay, known.detail, known.state) == (30.0, "no answer in time", State.RECEIVED)


def test_a_second_look_in_vain_waits_also_after_a_restart(ledger: Ledger) -> None:
    """That an order was asked in vain is on disk with the time of the next look: a restart must not shorten it."""
    entry = ledger.looked_in_vain(ledger.deferred(ledger.uploading(invoice()), 0.0, "timeout"), 5.0)
    next_try = found(ledger, entry).next_try
    assert next_try is not None
    assert next_try > time.time() + 1


def test_backoff_doubles_to_its_cap() -> None:
    """The first delay, then its doubles, never more than the cap."""
    delays = [0.0]
    for _ in range(6):
        delays.append(backoff(delays[-1], 2.0, 30.0))
    assert delays[1:] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


# Whoever knows less does not overwrite who knows more


@pytest.mark.parametrize("stale_write", ["deferred", "rejected", "uploading"])
@pytest.mark.parametrize("from_the_start", [True, False], ids=["never_written", "written_before"])
def test_a_receipt_is_never_overwritten_by_who_does_not_know_it(
    ledger: Ledger, stale_write: str, *, from_the_start: bool
) -> None:
    """Two files with the same bytes for one order: the receipt of the one outlives the other's trouble."""
    fresh = invoice() if from_the_start else ledger.deferred(invoice(), 0.0, "asked for its order")
    sent = ledger.uploaded(ledger.uploading(fresh), Receipt(77))
    stale = replace(fresh, file="8355 (1).pdf")
    writes: dict[str, Callable[[], object]] = {
        "deferred": lambda: ledger.deferred(stale, 2.0, "no answer in time"),
        "rejected": lambda: ledger.rejected(stale, Reason.CHECK_TIMEOUT, "20 s"),
        "uploading": lambda: ledger.uploading(stale),
    }
    with pytest.raises(Changed):
        writes[stale_write]()
    assert found(ledger, sent) == sent


def test_a_doubt_is_never_overwritten_by_who_does_not_know_it(ledger: Ledger) -> None:
    """Two files with the same bytes for one order: that the one may have been sent outlives the other's trouble."""
    fresh = invoice()
    doubtful = ledger.uploading(fresh)
    with pytest.raises(Changed):
        ledger.deferred(replace(fresh, file="8355 (1).pdf"), 2.0, "no answer in time")
    assert found(ledger, doubtful) == doubtful


# Questions


def test_the_same_invoice_is_account_project_reference_and_bytes(ledger: Ledger) -> None:
    """Another project, order, content or company is another invoice."""
    entry = ledger.uploading(invoice())
    assert ledger.find(ACCOUNT, 2001, "8355", "ab" * 32) == entry
    assert ledger.find("https://api.example/1002", 2001, "8355", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2002, "8355", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2001, "8356", "ab" * 32) is None
    assert ledger.find(ACCOUNT, 2001, "8355", "cd" * 32) is None


def test_a_twin_under_another_reference_is_found(ledger: Ledger) -> None:
    """The same bytes at the same order under another name count, if sent or perhaps sent; sent ones first."""
    mine = replace(invoice(), reference="302-8355")
    assert ledger.same_invoice(mine) is None
    received = ledger.deferred(replace(invoice(), reference="8355"), 1.0, "never sent")
    assert ledger.same_invoice(mine) is None
    doubtful = ledger.uploading(received)
    assert ledger.same_invoice(mine) == doubtful
    sent = ledger.uploaded(ledger.uploading(replace(invoice(), reference="0-8355")), Receipt(5))
    assert ledger.same_invoice(mine) == sent
    assert ledger.same_invoice(replace(mine, order_id=9)) is None
    assert ledger.same_invoice(replace(sent, doubt_since=None)) == doubtful


def test_receipts_tell_which_attachments_are_ours(ledger: Ledger) -> None:
    """All our receipts of an order are told with their content, and no other order's."""
    for attachment, sha256 in ((5, "aa" * 32), (6, "bb" * 32)):
        ledger.uploaded(ledger.uploading(invoice(sha256=sha256)), Receipt(attachment))
    ledger.uploading(invoice(sha256="cc" * 32))
    ledger.uploaded(ledger.uploading(invoice(9)), Receipt(7))
    assert ledger.receipts(ACCOUNT, 2001, 8355) == {5: "aa" * 32, 6: "bb" * 32}


def test_lists_and_counts_by_state(ledger: Ledger) -> None:
    """Entries are listed by state, the latest changed first, limited and since a time; counts agree."""
    for number in (1, 2, 3):
        ledger.processed(ledger.uploaded(ledger.uploading(invoice(number)), Receipt(number)), None)
    middle = found(ledger, invoice(2))
    ledger.rejected(invoice(4), Reason.EMPTY, "")
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED)] == ["3", "2", "1"]
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED, newest=2)] == ["3", "2"]
    assert [entry.reference for entry in ledger.in_state(State.PROCESSED, since=middle.changed)] == ["3", "2"]
    assert len(ledger.in_state(State.PROCESSED, State.REJECTED)) == 4
    assert ledger.count(State.PROCESSED) == 3
    assert ledger.count(State.PROCESSED, since=middle.changed) == 2
    assert [entry.reference for entry in ledger.uploaded_since(0.0)] == ["1", "2", "3"]
    assert [entry.reference for entry in ledger.uploaded_since(0.0, order_id=2)] == ["2"]


def test_others_pass_if_one_of_the_project_did_since(ledger: Ledger) -> None:
    """An invoice gives up only if another one of its project, not of any, went through since a given time."""
    ledger.uploaded(ledger.uploading(invoice(1)), Receipt(1))
    since = time.time()
    mine = ledger.deferred(invoice(2), 1.0, "500")
    assert not ledger.others_pass(mine, since=since)
    ledger.uploaded(ledger.uploading(invoice(3, project_id=2002)), Receipt(2))
    assert not ledger.others_pass(mine, since=since)
    ledger.uploaded(ledger.uploading(invoice(4)), Receipt(3))
    assert ledger.others_pass(mine, since=since)


def test_the_bucket_is_remembered_for_each_account(ledger: Ledger) -> None:
    """The last level written for an account is what is told, for that account only."""
    assert ledger.bucket(ACCOUNT) is None
    ledger.remember_bucket(ACCOUNT, BucketLevel(100.5, 1.25))
    ledger.remember_bucket(ACCOUNT, BucketLevel(42.0, 2.5))
    ledger.remember_bucket("other", BucketLevel(1.0, 1.0))
    assert ledger.bucket(ACCOUNT) == BucketLevel(42.0, 2.5)


COUNTER = itertools.count()
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
MOMENTS = st.floats(0, 4e9)
IDS = st.integers(0, 2**63 - 1)
ENTRIES = st.builds(
    Entry,
    account=TEXTS,
    project_id=IDS,
    reference=TEXTS,
    sha256=st.just("0" * 64),
    inbox=TEXTS,
    file=TEXTS,
    size=IDS,
    first_seen=MOMENTS,
    state=st.sampled_from(State),
    id=st.just(0),
    order_id=st.none() | IDS,
    attempts=st.integers(0, 10**6),
    next_try=st.none() | MOMENTS,
    delay=MOMENTS,
    detail=st.none() | TEXTS,
    reason=st.none() | st.sampled_from(Reason),
    doubt_since=st.none() | MOMENTS,
    looks=st.integers(0, 9),
    attachment_id=st.none() | IDS,
    uploaded_at=st.none() | MOMENTS,
    filed_as=st.none() | TEXTS,
    pages=st.none() | st.integers(0, 10**6),
    pdf_version=st.none() | TEXTS,
    producer=st.none() | TEXTS,
    pdfa=st.none() | TEXTS,
    einvoice=st.none() | TEXTS,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entry=ENTRIES)
def test_what_is_put_is_found(ledger: Ledger, entry: Entry) -> None:
    """Every field of every entry comes back as it was written, whatever text or number it holds."""
    entry = replace(entry, sha256=f"{next(COUNTER):064x}")
    put = ledger._put(entry)
    assert found(ledger, put) == put
    assert replace(put, id=0, changed=entry.changed) == entry
    changed = ledger._put(replace(put, detail="again", attempts=put.attempts + 1))
    assert found(ledger, changed) == changed
    assert changed.id == put.id


@given(st.binary(max_size=60))
def test_any_file_name_can_be_stored(name: bytes) -> None:
    """A name of any bytes has a form that a database takes."""
    text = storable(name.decode("utf-8", "surrogateescape"))
    assert text.encode().decode() == text
    assert storable(text) == text


def test_every_field_has_its_column() -> None:
    """The entry and the table agree, name by name."""
    assert {field.name for field in fields(Entry)} == set(schema.invoices.columns.keys())
    assert asdict(invoice()).keys() == set(schema.invoices.columns.keys())


# Durability


def test_every_connection_is_durable(ledger: Ledger) -> None:
    """Also the connections of other threads, and those made later, sync each commit to disk."""
    seen: list[tuple[object, object]] = []
    together = threading.Barrier(5)

    def look() -> None:
        with ledger._engine.connect().execution_options(reads=True) as connection:
            together.wait(10)
            journal = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            seen.append((journal, connection.exec_driver_sql("PRAGMA synchronous").scalar_one()))
            together.wait(10)

    threads = [threading.Thread(target=look) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 2 is FULL (https://sqlite.org/pragma.html#pragma_synchronous).
    assert seen == [("wal", 2)] * 5


def test_what_was_committed_outlives_the_process(tmp_path: Path) -> None:
    """An entry is found by the next process when the one that wrote it dies right after the call, unwinding nothing."""
    script = """
        import os, sys
        from pathlib import Path
        from invoicedrop.ledger.ledger import Entry, Ledger
        entry = Entry(account="a", project_id=1, reference="8355", sha256="0",
                      inbox="i", file="f", size=1, first_seen=1.0)
        Ledger(Path(sys.argv[1])).uploading(entry)
        os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert done.returncode == 9
    with Ledger(tmp_path) as ledger:
        known = ledger.find("a", 1, "8355", "0")
    assert known is not None
    assert known.state is State.UPLOADING


def test_two_processes_write_at_the_same_time(tmp_path: Path) -> None:
    """Writers of two processes (the daemon and a command) queue; nobody's entry is lost, nobody is refused."""
    script = """
        import sys
        from pathlib import Path
        from invoicedrop.ledger.ledger import Entry, Ledger
        with Ledger(Path(sys.argv[1])) as ledger:
            print(flush=True)
            sys.stdin.readline()
            for number in range(100):
                ledger.uploading(Entry(account="a", project_id=1, reference=f"{number}", sha256=sys.argv[2],
                                       inbox="i", file="f", size=1, first_seen=1.0))
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), who],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for who in ("first", "second")
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
    for process in processes:
        assert process.communicate(b"go\n", timeout=60)[0] == b""
        assert process.returncode == 0
    with Ledger(tmp_path) as ledger:
        assert len(ledger.in_state(State.UPLOADING)) == 200


def test_threads_write_and_read_at_the_same_time(ledger: Ledger) -> None:
    """Eight threads that write, each its own invoices, and read in between, all succeed."""
    failures: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            for number in range(10):
                entry = ledger.uploading(invoice(worker * 100 + number))
                ledger.processed(ledger.uploaded(entry, Receipt(entry.id)), None)
                assert found(ledger, entry).state is State.PROCESSED
        except BaseException as error:  # noqa: BLE001 - told in the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert ledger.count(State.PROCESSED) == 80


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger) -> None:
    """Reading goes on while another connection holds the write lock (a long backup, say)."""
    entry = ledger.uploading(invoice())
    other = sqlite3.connect(ledger.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert found(ledger, entry) == entry
        assert time.monotonic() - began < 5
    finally:
        other.close()


# Files that are not right


def test_an_existing_ledger_is_opened_as_it_is(tmp_path: Path) -> None:
    """A restart finds what was there."""
    with Ledger(tmp_path) as ledger:
        entry = ledger.uploading(invoice())
    with Ledger(tmp_path) as ledger:
        assert found(ledger, entry) == entry


def test_a_newer_ledger_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """A file of a newer program is left untouched, and it is said what to do."""
    Ledger(tmp_path).close()
    engine = schema.sqlite_engine(tmp_path / "ledger.sqlite3")
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE schema_version SET version = 99"))
    engine.dispose()
    with pytest.raises(ConfigError) as caught:
        Ledger(tmp_path)
    (problem,) = caught.value.problems
    assert str(tmp_path) in problem
    assert "newer" in problem
    assert "99" in problem


@pytest.mark.parametrize("content", [b"this is no database\n" * 200, b"%PDF-1.7 " * 1000])
def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """A file of another kind under the ledger's name is refused in words, and left as it is."""
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(content)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("what", ["missing", "a_file"])
def test_a_state_folder_that_is_none_is_ledger_trouble(tmp_path: Path, what: str) -> None:
    """Without a folder to write to, the error is ours, not the database library's."""
    folder = tmp_path / "state"
    if what == "a_file":
        folder.write_bytes(b"")
    with pytest.raises(LedgerUnavailable):
        Ledger(folder)


def test_a_full_disk_is_ledger_trouble_and_passes(ledger: Ledger) -> None:
    """Where the file cannot grow any more, writing says so and reading goes on; with room again it works."""
    entry = ledger.uploading(invoice())
    with ledger._engine.connect().execution_options(reads=True) as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()

    def limited(dbapi_connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        dbapi_connection.execute(f"PRAGMA max_page_count = {limit}").close()

    limit = pages
    ledger._commits.close()
    sa.event.listen(ledger._engine, "checkout", limited)
    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.deferred(replace(entry, producer="x" * 100_000), 1.0, "")
    assert found(ledger, entry) == entry
    limit = 100_000
    assert found(ledger, ledger.deferred(entry, 1.0, "room again")).detail == "room again"


def test_a_read_only_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """Where the database may not be written, writing says so and reading goes on."""
    entry = ledger.uploading(invoice())

    def read_only(dbapi_connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        dbapi_connection.execute("PRAGMA query_only = ON").close()

    ledger._commits.close()
    sa.event.listen(ledger._engine, "checkout", read_only)
    with pytest.raises(LedgerUnavailable, match="readonly"):
        ledger.processed(entry, None)
    with pytest.raises(LedgerUnavailable):
        ledger.remember_bucket(ACCOUNT, BucketLevel(1.0, 1.0))
    assert found(ledger, entry) == entry


def test_a_locked_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """Somebody who holds the write lock for too long (a tool, by hand) makes the ledger unavailable, in words."""

    def impatient(dbapi_connection: sqlite3.Connection, _record: object, _proxy: object) -> None:
        dbapi_connection.execute("PRAGMA busy_timeout = 50").close()

    ledger._commits.close()
    sa.event.listen(ledger._engine, "checkout", impatient)
    other = sqlite3.connect(ledger.path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.uploading(invoice())
        other.execute("ROLLBACK")
        assert ledger.uploading(invoice()).id
    finally:
        other.close()
