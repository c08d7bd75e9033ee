"""The ledger's tables, their numbered version, and how their database is opened."""

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from invoicedrop.errors import ConfigError

SCHEMA_VERSION: Final = 1
_BUSY_SECONDS: Final = 30
_metadata = sa.MetaData()
_version = sa.Table("schema_version", _metadata, sa.Column("version", sa.Integer, nullable=False))
invoices = sa.Table(
    "invoices",
    _metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("project_id", sa.BigInteger, nullable=False),
    sa.Column("reference", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("order_id", sa.BigInteger),
    sa.Column("inbox", sa.Text, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("first_seen", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_try", sa.Float),
    sa.Column("delay", sa.Float, nullable=False),
    sa.Column("detail", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("doubt_since", sa.Float),
    sa.Column("looks", sa.Integer, nullable=False),
    sa.Column("attachment_id", sa.BigInteger),
    sa.Column("uploaded_at", sa.Float),
    sa.Column("filed_as", sa.Text),
    sa.Column("pages", sa.Integer),
    sa.Column("pdf_version", sa.Text),
    sa.Column("producer", sa.Text),
    sa.Column("pdfa", sa.Text),
    sa.Column("einvoice", sa.Text),
    sa.UniqueConstraint("account", "project_id", "reference", "sha256"),
    sa.Index("invoices_by_order", "account", "project_id", "order_id", "sha256"),
    sa.Index("invoices_by_state", "state", "changed"),
)
buckets = sa.Table(
    "buckets",
    _metadata,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("level", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


def sqlite_engine(path: Path) -> Engine:
    """Open the SQLite file at `path` so that what is committed survives power loss, and writers queue."""
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": _BUSY_SECONDS}, max_overflow=-1
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(dbapi_connection: Any, _record: object) -> None:
        # The driver's own idea of when a transaction begins is switched off; see `begin`.
        dbapi_connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            dbapi_connection.execute(f"PRAGMA {pragma}").close()

    @sa.event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A writer that only later finds out that it has to write may meet another one, and cannot wait for it.
        reads = connection.get_execution_options().get("reads", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def migrate(connection: Connection, path: Path) -> None:
    """Bring the schema up to date.

    Raises:
        ConfigError: the file was written by a newer program.

    """
    if not sa.inspect(connection).has_table(_version.name):
        _metadata.create_all(connection)
        connection.execute(sa.insert(_version).values(version=SCHEMA_VERSION))
        return
    version = connection.execute(sa.select(_version.c.version)).scalar_one()
    if version > SCHEMA_VERSION:
        problem = (
            f"{path} was written by a newer invoicedrop (schema {version}; this one knows up to {SCHEMA_VERSION}): "
            "install that version again, or use another state_dir"
        )
        raise ConfigError([problem])
