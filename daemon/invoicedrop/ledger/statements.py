"""Every statement that the ledger executes, but for those that make its tables (`schema`).

Each is plain SQL that SQLite and PostgreSQL both execute:

- Parameters have names, in the style of the standard library's sqlite3 (`:name`, PEP 249's "named"). A driver of
  another style (psycopg: `%(name)s`) needs one substitution: no statement has a colon or a percent sign otherwise.
- No parameter stands where its type cannot be told from its neighbours (`:name IS NULL`): PostgreSQL refuses that.
- What writes returns a row, or none if it wrote nothing (`ON CONFLICT`, a stale version). An error instead would undo
  the transaction, which other writes share.
"""

from typing import Final

_ENTRIES: Final = """
    SELECT account, project_id, reference, sha256, inbox, file, size, first_seen, state, id, version,
           order_id, changed, attempts, next_try, delay, detail, reason, doubt_since, looks,
           attachment_id, uploaded_at, filed_as, filed_mtime_ns, pages, pdf_version, producer, pdfa, einvoice, items,
           waived, base_line, conflict_since, trouble_since,
           confirm_at, confirm_looks, confirmed_at, questioned_at, question
    FROM invoices"""
"""The columns stand in the order of `Entry`'s fields."""

# What is known

FIND: Final = f"""{_ENTRIES}
    WHERE account = :account AND project_id = :project_id AND reference = :reference AND sha256 = :sha256
"""

SAME_INVOICE: Final = f"""{_ENTRIES}
    WHERE account = :account AND project_id = :project_id AND order_id = :order_id AND sha256 = :sha256
      AND items = :items AND id <> :id AND (attachment_id IS NOT NULL OR doubt_since IS NOT NULL)
    ORDER BY attachment_id IS NULL, id
    LIMIT 1
"""

AT_ANOTHER_ORDER: Final = f"""{_ENTRIES}
    WHERE account = :account AND sha256 = :sha256 AND NOT (project_id = :project_id AND order_id = :order_id)
      AND (attachment_id IS NOT NULL OR doubt_since IS NOT NULL)
    ORDER BY attachment_id IS NULL, id
    LIMIT 1
"""

TO_CONFIRM: Final = f"""{_ENTRIES}
    WHERE account = :account AND project_id = :project_id AND state = 'processed'
      AND confirm_at IS NOT NULL AND (confirm_at <= :now OR confirm_at > :latest)
    ORDER BY confirm_at
    LIMIT :most
"""

NEXT_CONFIRMATION: Final = """
    SELECT min(confirm_at) FROM invoices
    WHERE account = :account AND project_id = :project_id AND state = 'processed' AND confirm_at IS NOT NULL
"""

QUESTIONED: Final = f"""{_ENTRIES}
    WHERE questioned_at >= :since
    ORDER BY questioned_at DESC, id DESC
"""

RECEIPTS: Final = """
    SELECT attachment_id, sha256, items FROM invoices
    WHERE account = :account AND project_id = :project_id AND order_id = :order_id AND attachment_id IS NOT NULL
    ORDER BY id
"""

SENT_LATER: Final = """
    SELECT attachment_id FROM invoices
    WHERE account = :account AND project_id = :project_id AND order_id = :order_id AND attachment_id IS NOT NULL
      AND uploaded_at > :since
"""

DOUBTS_AT_ORDER: Final = f"""{_ENTRIES}
    WHERE account = :account AND project_id = :project_id AND order_id = :order_id AND id <> :id
      AND attachment_id IS NULL AND doubt_since IS NOT NULL
    ORDER BY id
"""

UPLOADED_SINCE: Final = f"""{_ENTRIES}
    WHERE attachment_id IS NOT NULL AND uploaded_at >= :since
    ORDER BY uploaded_at
"""

UPLOADED_TO_ORDER_SINCE: Final = f"""{_ENTRIES}
    WHERE attachment_id IS NOT NULL AND uploaded_at >= :since AND order_id = :order_id
    ORDER BY uploaded_at
"""

UPLOADED_AFTER: Final = """
    SELECT id FROM invoices
    WHERE account = :account AND project_id = :project_id AND uploaded_at > :since
    LIMIT 1
"""

COUNT: Final = "SELECT count(*) FROM invoices WHERE state = :state AND changed >= :since"

COUNT_SENT: Final = "SELECT count(*) FROM invoices WHERE state = :state AND changed >= :since AND attempts > 0"
"""Without those that their orders had already."""

LAST_ID: Final = "SELECT max(id) FROM invoices"

FIRST_SEEN: Final = "SELECT min(first_seen) FROM (SELECT first_seen FROM invoices ORDER BY id LIMIT 20) AS first"
"""Of several: one that was dropped again is seen anew."""


def counting(statement: str, *, of_inbox: bool) -> str:
    """Return a statement that counts, for all inboxes, or for `:inbox` alone."""
    return f"{statement} AND inbox = :inbox" if of_inbox else statement


def in_states(number: int, *, of_inbox: bool = False) -> str:
    """Return the statement for the entries (of `:inbox`) in `number` states: `:state_0`, `:state_1`, ..."""
    states = ", ".join(f":state_{index}" for index in range(number))
    inbox = " AND inbox = :inbox" if of_inbox else ""
    return f"""{_ENTRIES}
    WHERE state IN ({states}) AND changed >= :since{inbox}
    ORDER BY changed DESC, id DESC
    LIMIT :newest
"""


# What happens

INSERT: Final = """
    INSERT INTO invoices (
        version, account, project_id, reference, sha256,
        inbox, file, size, first_seen, state,
        order_id, changed, attempts, next_try, delay, detail, reason, doubt_since, looks,
        attachment_id, uploaded_at, filed_as, filed_mtime_ns, pages, pdf_version, producer, pdfa, einvoice, items,
        waived, base_line, conflict_since, trouble_since,
        confirm_at, confirm_looks, confirmed_at, questioned_at, question
    ) VALUES (
        :version, :account, :project_id, :reference, :sha256,
        :inbox, :file, :size, :first_seen, :state,
        :order_id, :changed, :attempts, :next_try, :delay, :detail, :reason, :doubt_since, :looks,
        :attachment_id, :uploaded_at, :filed_as, :filed_mtime_ns, :pages, :pdf_version, :producer, :pdfa, :einvoice,
        :items, :waived, :base_line, :conflict_since, :trouble_since, :confirm_at, :confirm_looks, :confirmed_at,
        :questioned_at, :question
    )
    ON CONFLICT (account, project_id, reference, sha256) DO NOTHING
    RETURNING id
"""

UPDATE: Final = """
    UPDATE invoices SET
        version = :version,
        inbox = :inbox, file = :file, size = :size, first_seen = :first_seen, state = :state,
        order_id = :order_id, changed = :changed, attempts = :attempts, next_try = :next_try, delay = :delay,
        detail = :detail, reason = :reason, doubt_since = :doubt_since, looks = :looks,
        attachment_id = :attachment_id, uploaded_at = :uploaded_at, filed_as = :filed_as,
        filed_mtime_ns = :filed_mtime_ns,
        pages = :pages, pdf_version = :pdf_version, producer = :producer, pdfa = :pdfa, einvoice = :einvoice,
        waived = :waived, base_line = :base_line, conflict_since = :conflict_since, trouble_since = :trouble_since,
        confirm_at = :confirm_at, confirm_looks = :confirm_looks,
        confirmed_at = :confirmed_at, questioned_at = :questioned_at, question = :question
    WHERE id = :id AND version = :version - 1
    RETURNING id
"""

# The ledger itself

IDENTITY: Final = "SELECT id FROM identity WHERE number = 1"

MAKE_IDENTITY: Final = "INSERT INTO identity (number, id) VALUES (1, :id) ON CONFLICT (number) DO NOTHING RETURNING id"

# The rate limit's memory

BUCKET: Final = "SELECT level, at FROM buckets WHERE account = :account"

REMEMBER_BUCKET: Final = """
    INSERT INTO buckets (account, level, at) VALUES (:account, :level, :at)
    ON CONFLICT (account) DO UPDATE SET level = excluded.level, at = excluded.at
    RETURNING account
"""
