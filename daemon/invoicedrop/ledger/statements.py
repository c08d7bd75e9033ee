"""Every statement that the ledger executes, but for those that make its tables (`schema`).

Each is plain SQL that SQLite and PostgreSQL both execute:

- Parameters have names, in the style of the standard library's sqlite3 (`:name`, PEP 249's "named"). A driver of
  another style (psycopg: `%(name)s`) needs one substitution: no statement has a colon or a percent sign otherwise.
- No parameter stands where its type cannot be told from its neighbours (`:name IS NULL`): PostgreSQL refuses that.
- What writes returns a row, or none if it wrote nothing (`ON CONFLICT`, a stale version). An error instead would undo
  the transaction, which other writes share.
"""

from typing import Final

IDS: Final = frozenset({"order_id", "attachment_id"})
"""The parameters that may have more than 64 bits: how an engine keeps such a number is its own."""

_ENTRIES: Final = """
    SELECT account, project_id, reference, sha256, inbox, file, size, first_seen, state, id, version,
           order_id, changed, attempts, next_try, delay, detail, reason, doubt_since, looks,
           attachment_id, uploaded_at, filed_as, filed_mtime_ns, pages, pdf_version, producer, pdfa, einvoice, items,
           waived, base_line, conflict_since, trouble_since,
           confirm_at, confirm_looks, confirmed_at, questioned_at, question, rounds, marketplace_number
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
        confirm_at, confirm_looks, confirmed_at, questioned_at, question, rounds, marketplace_number
    ) VALUES (
        :version, :account, :project_id, :reference, :sha256,
        :inbox, :file, :size, :first_seen, :state,
        :order_id, :changed, :attempts, :next_try, :delay, :detail, :reason, :doubt_since, :looks,
        :attachment_id, :uploaded_at, :filed_as, :filed_mtime_ns, :pages, :pdf_version, :producer, :pdfa, :einvoice,
        :items, :waived, :base_line, :conflict_since, :trouble_since, :confirm_at, :confirm_looks, :confirmed_at,
        :questioned_at, :question, :rounds, :marketplace_number
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
        confirmed_at = :confirmed_at, questioned_at = :questioned_at, question = :question,
        rounds = :rounds, marketplace_number = :marketplace_number
    WHERE id = :id AND version = :version - 1
    RETURNING id
"""

ADD_STEP: Final = """
    INSERT INTO steps (invoice_id, round, kind, alike, at, last_at, words)
    VALUES (:id, :round, :kind, :alike, :at, :last_at, :words)
    ON CONFLICT (invoice_id, round, kind, alike)
    DO UPDATE SET times = steps.times + 1, last_at = excluded.at, words = excluded.words
    RETURNING id
"""

# What has happened

STEPS: Final = """
    SELECT kind, at, words, times, last_at, round FROM steps
    WHERE invoice_id = :id
    ORDER BY round, id
"""

_FIRST_SEEN_FIRST: Final = "ORDER BY first_seen, id LIMIT :most"
# Each of these goes through the whole table: a person asks, now and then.

OF_ORDER: Final = f"""{_ENTRIES}
    WHERE order_id = :order_id OR reference = :reference OR reference LIKE :with_items ESCAPE '!'
      OR upper(marketplace_number) = :number
    {_FIRST_SEEN_FIRST}
"""

_NAMED_IN_STEPS: Final = "id IN (SELECT invoice_id FROM steps WHERE kind IN ('found', 'duplicate') AND words = :file)"

OF_FILE: Final = f"""{_ENTRIES}
    WHERE file = :file OR filed_as LIKE :ending ESCAPE '!' OR {_NAMED_IN_STEPS}
    {_FIRST_SEEN_FIRST}
"""

OF_BYTES: Final = f"""{_ENTRIES}
    WHERE sha256 >= :first AND sha256 < :beyond
    {_FIRST_SEEN_FIRST}
"""

ACCEPTED: Final = """
    SELECT id, inbox, file, order_id, marketplace_number, sha256, size, uploaded_at, attachment_id, confirmed_at,
           filed_as
    FROM invoices
    WHERE id > :after AND attachment_id IS NOT NULL AND uploaded_at >= :since
      AND NOT EXISTS (
          SELECT 1 FROM invoices AS first
          WHERE first.account = invoices.account AND first.project_id = invoices.project_id
            AND first.order_id = invoices.order_id AND first.attachment_id = invoices.attachment_id
            AND first.id < invoices.id
      )
    ORDER BY id
    LIMIT :most
"""
"""The same bytes under two names of an order were sent once."""

# Whom a person has stopped

STOPS: Final = "SELECT inbox, kind, since, words, files FROM stops"

SET_STOP: Final = """
    INSERT INTO stops (inbox, kind, since, words, files) VALUES (:inbox, :kind, :since, :words, :files)
    ON CONFLICT (inbox) DO UPDATE
    SET kind = excluded.kind, since = excluded.since, words = excluded.words, files = excluded.files
    RETURNING inbox
"""

KNOWS_PROJECT: Final = """
    SELECT id FROM invoices
    WHERE inbox = :inbox OR (account = :account AND project_id = :project_id)
    LIMIT 1
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

# A bucket that several daemons use: PostgreSQL alone, by its clock, whatever that is set to meanwhile

NOW: Final = "extract(epoch FROM clock_timestamp())"

NEW_BUCKET: Final = """
    INSERT INTO buckets (account, level, at) VALUES (:account, 0, 0) ON CONFLICT (account) DO NOTHING RETURNING account
"""

TAKE_ROOM: Final = f"""
    UPDATE buckets SET level = now.level + now.taken, at = {NOW}
    FROM (
        SELECT account, level, floor(least(CAST(:most AS float), greatest(0, CAST(:capacity AS float) - level)))
            AS taken
        FROM (
            SELECT account, greatest(0, level - greatest(0, {NOW} - at) * CAST(:rate AS float)) AS level
            FROM buckets WHERE account = :account FOR UPDATE
        ) AS leaked
    ) AS now
    WHERE buckets.account = now.account
    RETURNING now.taken, now.level
"""  # noqa: S608 - constants

FILL_BUCKET: Final = f"""
    UPDATE buckets SET level = greatest(level, CAST(:capacity AS float)), at = {NOW}
    WHERE account = :account
    RETURNING account
"""  # noqa: S608
