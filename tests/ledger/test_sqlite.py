import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from entries import ACCOUNT, invoice, written

from invoicedrop.errors import Changed, LedgerUnavailable
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import Ledger
from waiting import wait_until


def in_threads(work: Callable[[int], object], number: int) -> Mapping[int, object]:
    """Do `work` in threads at the same time; return what each returned or raised."""
    results: dict[int, object] = {}

    def run(index: int) -> None:
        try:
            results[index] = work(index)
        except BaseException as error:  # noqa: BLE001 - looked at in the main thread
            results[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@contextmanager
def somebody_writes(ledger: Ledger) -> Iterator[sqlite3.Connection]:
    """Hold the right to write by another connection."""
    with closing(sqlite3.connect(ledger.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


# Durability


def test_every_connection_is_durable(ledger: Ledger) -> None:
    """Both connections sync each commit to disk, whichever thread uses them."""
    database = ledger._database

    def look(index: int) -> tuple[object, object]:
        connection = database._writer if index else database._reader
        (journal,), (synchronous,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "synchronous")
        )
        return journal, synchronous

    # 2 is FULL (https://sqlite.org/pragma.html#pragma_synchronous).
    assert in_threads(look, 2) == {0: ("wal", 2), 1: ("wal", 2)}


def test_what_was_committed_outlives_the_process(tmp_path: Path) -> None:
    """An entry is found by the next process when the one that wrote it dies right after the call, unwinding nothing."""
    script = """
        import os, sys
        from pathlib import Path
        from invoicedrop.ledger.ledger import Entry, Ledger
        entry = Entry(account="a", project_id=1, reference="8355", sha256="0",
                      inbox="i", file="f", size=1, first_seen=1.0)
        Ledger.open(Path(sys.argv[1])).uploading(entry)
        os._exit(9)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], check=False)
    assert done.returncode == 9
    with Ledger.open(tmp_path) as ledger:
        row = ledger.find("a", 1, "8355", "0")
    assert row is not None
    assert row.state is State.UPLOADING


def test_two_processes_write_at_the_same_time(tmp_path: Path) -> None:
    """Writers of two processes (the daemon and a command) queue; no entry is lost, no writer is refused."""
    script = """
        import sys
        from pathlib import Path
        from invoicedrop.ledger.ledger import Entry, Ledger
        with Ledger.open(Path(sys.argv[1])) as ledger:
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
    with Ledger.open(tmp_path) as ledger:
        assert len(ledger.in_state(State.UPLOADING)) == 200


def test_an_existing_ledger_is_opened_as_it_is(tmp_path: Path) -> None:
    """A restart finds what was there."""
    with Ledger.open(tmp_path) as ledger:
        entry = ledger.uploading(invoice())
    with Ledger.open(tmp_path) as ledger:
        assert written(ledger, entry) == entry


# Threads


def test_threads_write_and_read_at_the_same_time(ledger: Ledger) -> None:
    """Eight threads that write, each its own invoices, and read in between, all succeed."""

    def work(worker: int) -> None:
        for number in range(10):
            entry = ledger.uploading(invoice(worker * 100 + number))
            ledger.processed(ledger.uploaded(entry, Receipt(entry.id)), None)
            assert written(ledger, entry).state is State.PROCESSED

    assert set(in_threads(work, 8).values()) == {None}
    assert ledger.count(State.PROCESSED) == 80


def test_a_reader_does_not_wait_for_a_writer(ledger: Ledger) -> None:
    """Reading goes on while another connection holds the write lock (a long backup, say), and we wait to write."""
    entry = ledger.uploading(invoice())
    with somebody_writes(ledger) as other:
        writing = threading.Thread(target=ledger.uploading, args=(invoice(9),))
        writing.start()
        wait_until(lambda: ledger._database._group._writing, what="a write that waits")
        began = time.monotonic()
        assert written(ledger, entry) == entry
        assert time.monotonic() - began < 5
        other.execute("ROLLBACK")
        writing.join()
    assert written(ledger, invoice(9)).state is State.UPLOADING


def together(ledger: Ledger, work: Callable[[int], object]) -> tuple[Mapping[int, object], int]:
    """Do `work` in eight threads that all want to write during another write; return its results and its commits."""
    commits: list[str] = []
    database = ledger._database
    database._writer.set_trace_callback(lambda statement: commits.append(statement) if statement == "COMMIT" else None)
    with somebody_writes(ledger) as other:
        first = threading.Thread(target=ledger.buckets.remember, args=(ACCOUNT, BucketLevel(1.0, 1.0)))
        first.start()
        wait_until(lambda: database._group._writing, what="a write that waits")

        def let_go() -> None:
            wait_until(lambda: len(database._group._waiting) == 8, what="all that want to write")
            other.execute("ROLLBACK")

        letting_go = threading.Thread(target=let_go)
        letting_go.start()
        results = in_threads(work, 8)
        letting_go.join()
        first.join()
        database._writer.set_trace_callback(None)
    return results, len(commits) - 1


def test_writes_that_come_together_share_a_commit(ledger: Ledger) -> None:
    """What eight threads want to write during another write takes one commit, and each gets its own entry."""
    results, commits = together(ledger, lambda index: ledger.uploading(invoice(index)))
    assert commits == 1
    assert results == {index: written(ledger, invoice(index)) for index in range(8)}


def test_a_stale_write_does_not_hurt_those_beside_it(ledger: Ledger) -> None:
    """Of two writes of one entry that share a commit one is refused; all others are on disk."""
    entry = ledger.deferred(invoice(), 1.0, "before")
    results, commits = together(
        ledger, lambda index: ledger.deferred(entry if index in {3, 4} else invoice(index), 1.0, f"by {index}")
    )
    assert commits == 1
    (refused,) = (index for index, result in results.items() if isinstance(result, Changed))
    assert refused in {3, 4}
    for index in set(range(8)) - {refused}:
        result = results[index]
        assert isinstance(result, Entry)
        assert written(ledger, result) == result


def test_a_write_that_cannot_be_is_its_own_thread_s_error(ledger: Ledger) -> None:
    """A value that the database does not take is an error where it came from; what shares its commit is on disk."""
    results, _ = together(
        ledger, lambda index: ledger.uploaded(replace(invoice(index), pages=2**63 if index == 4 else 1), Receipt(1))
    )
    assert isinstance(results[4], OverflowError)
    for index in set(range(8)) - {4}:
        assert results[index] == written(ledger, invoice(index))
    assert ledger.find(ACCOUNT, 2001, "4", "ab" * 32) is None


class Interrupting(dict[str, object]):
    """Values of a statement at which the thread that executes it is interrupted."""

    def __getitem__(self, _name: str) -> object:
        raise KeyboardInterrupt


def test_nobody_takes_an_interrupted_write_for_done(ledger: Ledger) -> None:
    """Where the thread that writes for others is interrupted, they learn that nothing is written; then all goes on."""

    def work(index: int) -> object:
        if index == 4:
            return ledger._database.write("SELECT :x", Interrupting())
        return ledger.uploading(invoice(index))

    results, commits = together(ledger, work)
    assert commits == 0
    assert Counter(type(result) for result in results.values()) == {LedgerUnavailable: 7, KeyboardInterrupt: 1}
    assert ledger.in_state(*State) == []
    assert ledger.uploading(invoice(1)).version == 1


def test_a_trouble_that_all_have_is_waited_for_once(ledger: Ledger) -> None:
    """While somebody else holds the write lock for too long, eight writes fail after two waits, not after eight."""
    ledger._database._writer.execute("PRAGMA busy_timeout = 500")
    with somebody_writes(ledger):
        began = time.monotonic()
        results = in_threads(lambda index: ledger.uploading(invoice(index)), 8)
        took = time.monotonic() - began
    assert {type(result) for result in results.values()} == {LedgerUnavailable}
    assert took < 4
    assert ledger.in_state(*State) == []


# Trouble


@pytest.mark.parametrize("content", [b"this is no database\n" * 200, b"%PDF-1.7 " * 1000])
def test_a_file_that_is_no_database_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    """A file of another kind under the ledger's name is refused in words, and left as it is."""
    path = tmp_path / "ledger.sqlite3"
    path.write_bytes(content)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger.open(tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("what", ["missing", "a_file"])
def test_a_state_folder_that_is_none_is_ledger_trouble(tmp_path: Path, what: str) -> None:
    """Without a folder to write to, the error is ours, not the database library's."""
    folder = tmp_path / "state"
    if what == "a_file":
        folder.write_bytes(b"")
    with pytest.raises(LedgerUnavailable):
        Ledger.open(folder)


def test_a_full_disk_is_ledger_trouble_and_passes(ledger: Ledger) -> None:
    """Where the file cannot grow any more, writing says so and reading goes on; with room again it works."""
    entry = ledger.uploading(invoice())
    ((pages,),) = ledger._database.read("PRAGMA page_count", {})
    ledger._database._writer.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LedgerUnavailable, match="full"):
        ledger.deferred(replace(entry, producer="x" * 100_000), 1.0, "")
    assert written(ledger, entry) == entry
    ledger._database._writer.execute("PRAGMA max_page_count = 100000")
    assert written(ledger, ledger.deferred(entry, 1.0, "room again")).detail == "room again"


def test_a_read_only_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """Where the database may not be written, writing says so and reading goes on."""
    entry = ledger.uploading(invoice())
    ledger._database._writer.execute("PRAGMA query_only = ON")
    with pytest.raises(LedgerUnavailable, match="readonly"):
        ledger.uploaded(entry, Receipt(1))
    with pytest.raises(LedgerUnavailable):
        ledger.buckets.remember(ACCOUNT, BucketLevel(1.0, 1.0))
    assert written(ledger, entry) == entry


def test_a_locked_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """Somebody who holds the write lock for too long (a tool, by hand) makes the ledger unavailable, in words."""
    ledger._database._writer.execute("PRAGMA busy_timeout = 50")
    with somebody_writes(ledger) as other:
        with pytest.raises(LedgerUnavailable, match="locked"):
            ledger.uploading(invoice())
        other.execute("ROLLBACK")
        assert ledger.uploading(invoice()).id


def test_a_closed_ledger_is_ledger_trouble(ledger: Ledger) -> None:
    """A thread that outlives the service's end is told that nothing is written any more."""
    entry = ledger.uploading(invoice())
    ledger.close()
    with pytest.raises(LedgerUnavailable, match="closed"):
        ledger.uploaded(entry, Receipt(1))
    with pytest.raises(LedgerUnavailable, match="closed"):
        written(ledger, entry)


# Others that open and close the same file


def _opened_and_closed_by_another_process(path: Path) -> int:
    """Have another process read the ledger, as commands do; return how many invoices it finds."""
    program = """
        import sqlite3, sys
        ledger = sqlite3.connect(sys.argv[1])
        print(*ledger.execute("SELECT count(*) FROM invoices").fetchone())
        ledger.close()
    """
    command = [sys.executable, "-c", textwrap.dedent(program), path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_opening_it_once_more_in_this_process_costs_no_lock(tmp_path: Path) -> None:
    """What reads the ledger beside the service, in its process, leaves SQLite's locks: no commit is lost for it."""
    with Ledger.open(tmp_path) as ledger:
        assert ledger.path is not None
        ledger.uploading(invoice(1))
        with Ledger.open(tmp_path) as again:
            assert again.count(State.UPLOADING) == 1
        assert _opened_and_closed_by_another_process(ledger.path) == 1
        log = ledger.path.with_name(f"{ledger.path.name}-wal")
        assert log.exists(), "the other process took itself for the last one"
        ledger.uploading(invoice(2))
        assert _opened_and_closed_by_another_process(ledger.path) == 2


def test_a_file_in_the_place_of_one_that_was_closed_is_looked_at(tmp_path: Path) -> None:
    """Once the last one here has closed a ledger, what lies in its place is examined before it is opened."""
    with Ledger.open(tmp_path) as ledger, Ledger.open(tmp_path):
        assert ledger.path is not None
    ledger.path.write_bytes(b"not a database" * 20)
    with pytest.raises(LedgerUnavailable, match="not a database"):
        Ledger.open(tmp_path)
