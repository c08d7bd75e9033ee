"""The ledger's tables, made by numbered steps: an older ledger takes those that it lacks, a newer one is refused.

The next step goes to the end of `STEPS`, with a test that opens a ledger of the version before it
(tests/ledger/version_1.sql is such a one). A step that was released is never changed: there are ledgers that took it.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from invoicedrop.errors import ConfigError


class Dialect(NamedTuple):
    """How an engine writes what SQL has no common words for, in the place of `<...>` in a step."""

    row_number: str
    """The type of a primary key that numbers itself."""
    long_id: str
    """The type of an id that may have more than 64 bits."""


SQLITE: Final = Dialect(row_number="INTEGER NOT NULL PRIMARY KEY", long_id="BIGINT")

STEPS: Final = (
    # 1: one row for each invoice, one for each company's bucket.
    (
        """
        CREATE TABLE invoices (
            id <row_number>,
            account TEXT NOT NULL,
            project_id BIGINT NOT NULL,
            reference TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            order_id <long_id>,
            inbox TEXT NOT NULL,
            file TEXT NOT NULL,
            size BIGINT NOT NULL,
            state TEXT NOT NULL,
            first_seen FLOAT NOT NULL,
            changed FLOAT NOT NULL,
            attempts INTEGER NOT NULL,
            next_try FLOAT,
            delay FLOAT NOT NULL,
            detail TEXT,
            reason TEXT,
            doubt_since FLOAT,
            looks INTEGER NOT NULL,
            attachment_id <long_id>,
            uploaded_at FLOAT,
            filed_as TEXT,
            pages INTEGER,
            pdf_version TEXT,
            producer TEXT,
            pdfa TEXT,
            einvoice TEXT,
            UNIQUE (account, project_id, reference, sha256)
        )
        """,
        "CREATE INDEX invoices_by_order ON invoices (account, project_id, order_id, sha256)",
        "CREATE INDEX invoices_by_state ON invoices (state, changed)",
        "CREATE TABLE buckets (account TEXT NOT NULL PRIMARY KEY, level FLOAT NOT NULL, at FLOAT NOT NULL)",
    ),
    # 2: a counter says which write a row is of; until then the time of its last change did.
    ("ALTER TABLE invoices ADD COLUMN version INTEGER NOT NULL DEFAULT 1",),
    # 3: the order items, which `reference` names as well from now on (older rows: those of any name), and the soft
    # reasons that a person has waived.
    (
        "ALTER TABLE invoices ADD COLUMN items TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE invoices ADD COLUMN waived TEXT NOT NULL DEFAULT ''",
    ),
    # 4: the ledger's own identity, in one row: a drop folder belongs to one ledger.
    ("CREATE TABLE identity (number INTEGER NOT NULL PRIMARY KEY, id TEXT NOT NULL)",),
    # 5: the order's attachments before the first try; the looks at the order after an invoice was accepted, and what
    # they found; and the same bytes at another order are searched for.
    (
        "ALTER TABLE invoices ADD COLUMN base_line TEXT",
        "ALTER TABLE invoices ADD COLUMN conflict_since FLOAT",
        "ALTER TABLE invoices ADD COLUMN trouble_since FLOAT",
        "ALTER TABLE invoices ADD COLUMN filed_mtime_ns BIGINT",
        "ALTER TABLE invoices ADD COLUMN confirm_at FLOAT",
        "ALTER TABLE invoices ADD COLUMN confirm_looks INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE invoices ADD COLUMN confirmed_at FLOAT",
        "ALTER TABLE invoices ADD COLUMN questioned_at FLOAT",
        "ALTER TABLE invoices ADD COLUMN question TEXT",
        "CREATE INDEX invoices_by_bytes ON invoices (account, sha256)",
        "CREATE INDEX invoices_to_confirm ON invoices (account, project_id, confirm_at) WHERE confirm_at IS NOT NULL",
        "CREATE INDEX invoices_questioned ON invoices (questioned_at) WHERE questioned_at IS NOT NULL",
    ),
    # 6: each invoice's steps (older rows have none), how often a person has moved it back, and the number that its
    # marketplace shows; and the inboxes that a person has stopped, or started again.
    (
        """
        CREATE TABLE steps (
            id <row_number>,
            invoice_id BIGINT NOT NULL,
            round INTEGER NOT NULL,
            kind TEXT NOT NULL,
            alike BIGINT NOT NULL,
            at FLOAT NOT NULL,
            last_at FLOAT,
            times INTEGER NOT NULL DEFAULT 1,
            words TEXT,
            UNIQUE (invoice_id, round, kind, alike)
        )
        """,
        "ALTER TABLE invoices ADD COLUMN rounds INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE invoices ADD COLUMN marketplace_number TEXT",
        """
        CREATE TABLE stops (
            inbox TEXT NOT NULL PRIMARY KEY,
            kind TEXT NOT NULL,
            since FLOAT NOT NULL,
            words TEXT,
            files BIGINT
        )
        """,
    ),
    # 7: who works on each inbox, where several daemons share a ledger; `beat` is by the database's clock.
    (
        """
        CREATE TABLE inbox_owners (
            account TEXT NOT NULL,
            project_id BIGINT NOT NULL,
            inbox TEXT NOT NULL,
            life TEXT NOT NULL,
            backend INTEGER NOT NULL,
            host TEXT NOT NULL,
            pid INTEGER NOT NULL,
            since FLOAT NOT NULL,
            beat FLOAT NOT NULL,
            PRIMARY KEY (account, project_id, inbox)
        )
        """,
    ),
)
"""Step N makes a ledger of version N out of one of version N - 1."""
VERSION: Final = len(STEPS)


def migrate(execute: Callable[[str], Any], dialect: Dialect, name: str) -> None:
    """Bring the tables up to date, within the transaction that is under way; `name` is what the ledger is called.

    Raises:
        ConfigError: a newer program wrote this ledger.

    """
    execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    rows = execute("SELECT version FROM schema_version").fetchall()
    version = rows[0][0] if rows else 0
    if version > VERSION:
        problem = (
            f"{name} was written by a newer invoicedrop (schema {version}; this one knows up to {VERSION}): "
            "install that version again, or use another ledger"
        )
        raise ConfigError([problem])
    if version == VERSION:
        return
    for step in STEPS[version:]:
        for statement in step:
            execute(in_dialect(dialect, statement))
    execute("DELETE FROM schema_version")
    execute(f"INSERT INTO schema_version VALUES ({VERSION})")  # noqa: S608 - a number of ours


def in_dialect(dialect: Dialect, statement: str) -> str:
    """Return a statement of a step in the words of an engine."""
    for word, own in dialect._asdict().items():
        statement = statement.replace(f"<{word}>", own)
    return statement
