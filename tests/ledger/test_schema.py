import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from entries import invoice, written

from invoicedrop.errors import Changed, ConfigError
from invoicedrop.invoice import Receipt, State
from invoicedrop.ledger.buckets import BucketLevel
from invoicedrop.ledger.entry import Entry
from invoicedrop.ledger.ledger import LEDGER_FILE, Ledger
from invoicedrop.ledger.schema import SQLITE, STEPS, VERSION, in_dialect
from invoicedrop.ledger.step import StepKind
from invoicedrop.reasons import Reason

VERSION_1 = Path(__file__).with_name("version_1.sql")
"""A ledger as the program of version 1 wrote it, dumped: rows in every state, in doubt and not, filed and not."""


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A state folder with a ledger of version 1."""
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.executescript(VERSION_1.read_text(encoding="utf-8"))
    return tmp_path


def dump(state_dir: Path) -> str:
    """Return everything in the ledger, as SQL."""
    with closing(sqlite3.connect(state_dir / LEDGER_FILE)) as database:
        return "\n".join(database.iterdump()) + "\n"


def form(state_dir: Path, table: str) -> list[object]:
    """Return a table's columns, and its indexes with theirs."""
    with closing(sqlite3.connect(state_dir / LEDGER_FILE)) as database:
        indexes = [
            (name, unique, database.execute(f"PRAGMA index_xinfo({name})").fetchall())
            for _, name, unique, *_ in database.execute(f"PRAGMA index_list({table})").fetchall()
        ]
        return [database.execute(f"PRAGMA table_xinfo({table})").fetchall(), sorted(indexes)]


def test_an_older_ledger_is_brought_up_to_date(state_dir: Path) -> None:
    """What the program of version 1 wrote is all there after an update, and goes on from where it was."""
    with closing(sqlite3.connect(state_dir / LEDGER_FILE)) as database:
        database.row_factory = sqlite3.Row
        before = [dict(row) for row in database.execute("SELECT * FROM invoices ORDER BY id")]
    with Ledger.open(state_dir) as ledger:
        entries = sorted(ledger.in_state(*State), key=lambda entry: entry.id)
        assert {entry.state for entry in entries} == set(State)
        for row, entry in zip(before, entries, strict=True):
            row["reason"] = None if row["reason"] is None else Reason(row["reason"])
            assert entry == Entry(**row | {"state": State(row["state"]), "version": 1})
        assert ledger.buckets.level("https://api.channable.com/1001") == BucketLevel(42.5, 1780000000.0)
        assert ledger.receipts("https://api.channable.com/1001", 2001, 5) == {105: ("05" * 32, "")}
        (doubtful, *_) = ledger.in_state(State.UPLOADING)
        uploaded = ledger.uploaded(doubtful, Receipt(7))
        assert (uploaded.version, written(ledger, uploaded)) == (2, uploaded)
        with pytest.raises(Changed):
            ledger.deferred(doubtful, 1.0, "stale")
    with Ledger.open(state_dir) as ledger:
        assert written(ledger, uploaded) == uploaded


def test_an_updated_ledger_is_like_a_new_one(state_dir: Path, tmp_path: Path) -> None:
    """The steps make the same tables of an older ledger as of none."""
    Ledger.open(state_dir).close()
    new = tmp_path / "new"
    new.mkdir()
    Ledger.open(new).close()
    for table in ("invoices", "buckets", "identity", "steps", "stops", "schema_version"):
        assert form(state_dir, table) == form(new, table)
    assert f'INSERT INTO "schema_version" VALUES({VERSION});' in dump(state_dir)


def test_the_first_step_makes_what_version_1_was(state_dir: Path, tmp_path: Path) -> None:
    """The tables that the first step makes are those of the program of version 1."""
    first = tmp_path / "first"
    first.mkdir()
    with closing(sqlite3.connect(first / LEDGER_FILE)) as database:
        for statement in STEPS[0]:
            database.execute(in_dialect(SQLITE, statement))
    for table in ("invoices", "buckets"):
        assert form(state_dir, table) == form(first, table)


def test_a_crash_while_it_is_brought_up_to_date_leaves_the_old_ledger(state_dir: Path) -> None:
    """At whatever statement the process dies, the ledger is of version 1, untouched; the next start updates it."""
    script = """
        import os, sqlite3, sys
        from functools import partial
        from pathlib import Path
        from invoicedrop.ledger import sqlite
        from invoicedrop.ledger.ledger import Ledger

        left = int(sys.argv[2])

        class Dying(sqlite3.Connection):
            def execute(self, statement, *values):
                global left
                if not statement.startswith("PRAGMA"):
                    left -= 1
                if left < 0:
                    os._exit(9)
                return super().execute(statement, *values)

            def commit(self):
                self.execute("COMMIT")

        sqlite.connect = partial(sqlite.connect, factory=Dying)
        Ledger.open(Path(sys.argv[1])).close()
    """
    before = dump(state_dir)
    assert before == VERSION_1.read_text(encoding="utf-8")
    for statements in range(40):
        command = [sys.executable, "-c", textwrap.dedent(script), str(state_dir), str(statements)]
        done = subprocess.run(command, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == 9
        assert dump(state_dir) == before
    assert statements >= 6
    assert dump(state_dir) != before
    with Ledger.open(state_dir) as ledger:
        assert {entry.version for entry in ledger.in_state(*State)} == {1}


def test_an_older_program_at_work_is_not_disturbed(state_dir: Path) -> None:
    """A command of the new program may update the ledger under a daemon of the old one, which then goes on writing."""
    with closing(sqlite3.connect(state_dir / LEDGER_FILE, isolation_level=None)) as older:
        columns = [name for (_, name, *_) in older.execute("PRAGMA table_info(invoices)")][1:]
        rows = older.execute(f"SELECT {', '.join(columns)} FROM invoices WHERE state = 'received'").fetchall()
        Ledger.open(state_dir).close()
        row = dict(zip(columns, rows[0], strict=True)) | {"reference": "new"}
        names = ", ".join(f":{name}" for name in columns)
        older.execute(f"INSERT INTO invoices ({', '.join(columns)}) VALUES ({names})", row)
        older.execute("UPDATE invoices SET state = 'uploading' WHERE reference = 'new'")
    with Ledger.open(state_dir) as ledger:
        (entry,) = (entry for entry in ledger.in_state(State.UPLOADING) if entry.reference == "new")
        assert ledger.uploaded(entry, Receipt(1)).version == 2


def test_a_filled_ledger_of_version_5_goes_on_with_steps(tmp_path: Path) -> None:
    """What was written before steps were kept has none, is all there, and gets its steps from its next change on."""
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as database, database:
        for statement in (statement for step in STEPS[:5] for statement in step):
            database.execute(in_dialect(SQLITE, statement))
        database.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        database.execute("INSERT INTO schema_version VALUES (5)")
        row = {
            "account": "https://api.example/1001", "project_id": 2001, "reference": "8355", "sha256": "ab" * 32,
            "order_id": 8355, "inbox": "default", "file": "8355.pdf", "size": 1000, "state": "uploading",
            "first_seen": 1.5, "changed": 2.5, "attempts": 1, "delay": 0.0, "looks": 0, "doubt_since": 2.5,
            "version": 3, "base_line": "7 8", "confirm_looks": 0,
        }  # fmt: skip
        names = ", ".join(row)
        database.execute(f"INSERT INTO invoices ({names}) VALUES ({', '.join(f':{name}' for name in row)})", row)
        database.execute("INSERT INTO identity VALUES (1, 'this one')")
    with Ledger.open(tmp_path) as ledger:
        (entry,) = ledger.past.of_order("8355", most=9)
        assert (entry.version, entry.base_line, entry.rounds, entry.marketplace_number) == (3, {7, 8}, 0, None)
        assert ledger.past.steps(entry) == []
        assert ledger.stops.all() == {}
        assert ledger.identity() == "this one"
        ledger.uploaded(entry, Receipt(9))
        assert [step.kind for step in ledger.past.steps(entry)] == [StepKind.ACCEPTED]
    assert f'INSERT INTO "schema_version" VALUES({VERSION});' in dump(tmp_path)


def test_a_newer_ledger_is_refused_in_a_sentence(tmp_path: Path) -> None:
    """A file of a newer program is left untouched, and it is said what to do."""
    with Ledger.open(tmp_path) as ledger:
        ledger.uploading(invoice())
    with closing(sqlite3.connect(tmp_path / LEDGER_FILE)) as database, database:
        database.execute("UPDATE schema_version SET version = 99")
    before = dump(tmp_path)
    with pytest.raises(ConfigError) as caught:
        Ledger.open(tmp_path)
    (problem,) = caught.value.problems
    assert str(tmp_path) in problem
    assert "newer" in problem
    assert "99" in problem
    assert dump(tmp_path) == before
