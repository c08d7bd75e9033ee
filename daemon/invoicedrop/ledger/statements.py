"""The ledger's statements that are executed for every invoice, in the database's own words.

They are compiled once and handed to the database's driver: executing them by SQLAlchemy took five times as long.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.interfaces import DBAPICursor

from invoicedrop.ledger.schema import buckets, invoices

COLUMNS: Final = tuple(column.name for column in invoices.c)
WRITTEN: Final = tuple(name for name in COLUMNS if name != "id")


class Statement:
    """A statement in its database's own words, for the values of the parameters named."""

    def __init__(self, clause: sa.Select[Any] | sa.UpdateBase, dialect: Dialect, *parameters: str) -> None:
        compiled = clause.compile(dialect=dialect, column_keys=parameters or None)
        assert isinstance(compiled, sa.Compiled)
        self._text = str(compiled)
        self._order = getattr(compiled, "positiontup", None)

    def execute(self, cursor: DBAPICursor, values: Mapping[str, Any]) -> DBAPICursor:
        """Execute it on the driver's cursor, and return that; `values` may hold more than it needs."""
        cursor.execute(self._text, values if self._order is None else [values[name] for name in self._order])
        return cursor


def _bound(*names: str) -> Iterator[sa.ColumnElement[bool]]:
    return (invoices.c[name] == sa.bindparam(name) for name in names)


class Statements:
    """What is executed for every invoice."""

    def __init__(self, dialect: Dialect) -> None:
        known = sa.select(invoices)
        self.find = Statement(known.where(*_bound("account", "project_id", "reference", "sha256")), dialect)
        same = known.where(
            *_bound("account", "project_id", "order_id", "sha256"),
            invoices.c.id != sa.bindparam("id"),
            invoices.c.attachment_id.is_not(None) | invoices.c.doubt_since.is_not(None),
        )
        self.same = Statement(same, dialect)
        self.insert = Statement(sa.insert(invoices).returning(invoices.c.id), dialect, *WRITTEN)
        known_one = sa.update(invoices).where(
            invoices.c.id == sa.bindparam("key"), invoices.c.changed == sa.bindparam("as_of")
        )
        self.update = Statement(known_one, dialect, *WRITTEN)
        self.forget_bucket = Statement(sa.delete(buckets).where(buckets.c.account == sa.bindparam("account")), dialect)
        self.remember_bucket = Statement(sa.insert(buckets), dialect, *buckets.c.keys())
